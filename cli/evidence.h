/* cli/evidence.h — what a rule's own file says of where it pays. */
#pragma once
#include "base/context.h"
#include <jansson.h>

typedef struct EvidenceBook EvidenceBook;
EvidenceBook *evidence_open(Context *cx, const char *rules_dir);          /* NULL: the built-in rules */
json_t       *evidence_of(const EvidenceBook *b, const char *rule);       /* array, one object a measurement */
