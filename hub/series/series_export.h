/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_export - metrics of applications as Prometheus reads them: what this node was posted since
 * its start, or since a series began again.
 *
 * `peal_app_<name>_total` of a counter, `peal_app_<name>` of a gauge, the histogram
 * `peal_app_<name>_seconds` of a timer; labels are the tags, `unit`, and `tenant` where there is
 * one.
 */
#ifndef HUB_SERIES_SERIES_EXPORT_H
#define HUB_SERIES_SERIES_EXPORT_H

#include "codec/base/buf.h"

struct series;

/* Append them. On the first shard. */
void series_export(const struct series *series, struct builder *out);

#endif
