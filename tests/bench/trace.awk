# SPDX-License-Identifier: BSD-3-Clause
#
# Counts system calls a request out of a log of `strace -f`, between the byte
# "G" that the VMM reads for the guest and the "E" that the guest puts out.
# First file: lines "TID PROCESS"; second: the log.
#
#	awk -v vm=torpor -v phase=blk -v n=200 -f trace.awk MAP LOG
#
# Prints "count VM PHASE exits N" (returns of KVM_RUN), a line
# "count VM PHASE syscalls PROCESS N NAME=N..." for each process, KVM_RUN not
# among them, and their sum.

NR == FNR {
	process[$1] = $2
	next
}

/read.*"G/ && !begun {
	begun = 1
	next
}

begun && /write.*"E/ {
	ended = 1
	exit
}

!begun || $2 !~ /^[a-z_0-9]+\(/ {
	next
}

{
	name = $2
	sub(/\(.*/, "", name)
	who = $1 in process ? process[$1] : "other"
	if (/KVM_RUN/) {
		exits++
		next
	}
	calls[who]++
	by_name[who, name]++
	names[name] = 1
	sum++
}

END {
	if (!ended) {
		print "trace.awk: the log of " vm " " phase \
			" does not hold the phase" >"/dev/stderr"
		exit 1
	}
	printf "count %s %s exits %.2f\n", vm, phase, exits / n
	for (who in calls) {
		printf "count %s %s syscalls %s %.2f", vm, phase, who,
			calls[who] / n
		for (name in names)
			if (by_name[who, name] >= n / 20)
				printf " %s=%.2f", name, by_name[who, name] / n
		printf "\n"
	}
	printf "count %s %s syscalls sum %.2f\n", vm, phase, sum / n
}
