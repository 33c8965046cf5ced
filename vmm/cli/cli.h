/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The torpor command: help, `run` (handed to run_main()) and the commands that
 * talk to a running VM over its control socket. Main thread.
 */
#ifndef TORPOR_VMM_CLI_CLI_H
#define TORPOR_VMM_CLI_CLI_H

#include <jansson.h>
#include <stdio.h>

/* Exit statuses; 32 and 34 are run_main()'s. */
#define CLI_OK	   0
#define CLI_FAILED 33
#define CLI_USAGE  35

/* Everything main() does. Return: the exit status. */
int cli_main(int argc, char **argv);
/* The same with other files than stdout and stderr. */
int cli_run(int argc, char **argv, FILE *out, FILE *err);

/* --- print.c: JSON of the control protocol as text for people --- */
/* @result of "state". */
void cli_print_state(FILE *out, const json_t *result);
/* @result of "stats". */
void cli_print_stats(FILE *out, const json_t *result);
/* One line. */
void cli_print_event(FILE *out, const json_t *event);

#endif
