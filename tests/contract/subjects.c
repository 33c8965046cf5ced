/* SPDX-License-Identifier: BSD-3-Clause */
/* All subjects, in the order of virtio_types[]. */
#include "tests/contract/subject.h"

#include <stddef.h>

#define SUBJECTS_OF(NAME, name, ...) contract_##name,

static const struct contract_subject *const of_type[VIRTIO_NR_TYPES] = {
	VIRTIO_TYPES(SUBJECTS_OF)
};

const struct contract_subject *contract_subject(unsigned int i)
{
	for (unsigned int t = 0; t < VIRTIO_NR_TYPES; t++) {
		for (const struct contract_subject *s = of_type[t]; s->name;
		     s++) {
			if (i-- == 0)
				return s;
		}
	}
	return NULL;
}

unsigned int contract_nr_subjects(void)
{
	unsigned int n = 0;

	while (contract_subject(n))
		n++;
	return n;
}
