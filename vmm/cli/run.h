/* SPDX-License-Identifier: BSD-3-Clause */
/* `torpor run`: from the command line to the guest's end. Main thread. */
#ifndef TORPOR_VMM_CLI_RUN_H
#define TORPOR_VMM_CLI_RUN_H

/**
 * run_main() - run a virtual machine
 * @argv: the words after "run", as for config_parse_args()
 *
 * Return: the exit status: 0 powered off or stopped, 32 reset, 33 failed,
 * 34 guest panic, 35 wrong usage.
 */
int run_main(int argc, char **argv);

#endif
