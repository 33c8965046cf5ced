# SPDX-License-Identifier: BSD-3-Clause
#
# Table of the lines "fs SERVER NAME COUNT NANOSECONDS" of fs.sh: microseconds an
# operation of each server, the best of its rounds, and how much of virtiofsd's
# time torpor's own takes. Exits 1 if there is no line.

$1 == "fs" && $4 > 0 {
	if (!($3 in seen)) {
		seen[$3] = 1
		names[++n] = $3
	}
	took = $5 / $4 / 1000
	if (!(($2, $3) in us) || took < us[$2, $3])
		us[$2, $3] = took
	count[$3] = $4
}

END {
	printf "  %-18s %9s %12s %12s %10s\n", "", "times", "torpor, us",
		"virtiofsd", "of it"
	for (i = 1; i <= n; i++) {
		own = us["own", names[i]]
		theirs = us["theirs", names[i]]
		ratio = "-"
		if (own > 0 && theirs > 0) {
			ratio = sprintf("%.2fx", own / theirs)
			log_sum += log(own / theirs)
			pairs++
		}
		printf "  %-18s %9d %12.1f %12.1f %10s\n", names[i],
			count[names[i]], own, theirs, ratio
	}
	if (pairs)
		printf "  %-18s %45.2fx\n", "geometric mean", exp(log_sum / pairs)
	exit !pairs
}
