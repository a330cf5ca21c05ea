/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list - intrusive doubly linked circular list.
 *
 * A head and the links of its members have the same type. Each link's comment names its head.
 */
#ifndef CODEC_BASE_LIST_H
#define CODEC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

/* Make `list` an empty head, or a link that is in no list. */
static inline void list_init(struct list *list)
{
    list->prev = list;
    list->next = list;
}

/* Whether a head has no members, or a link is in no list. */
static inline bool list_empty(const struct list *list)
{
    return list->next == list;
}

/* Put `link`, which must be in no list, behind the last member. */
static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Put `link`, which must be in no list, before the first member. */
static inline void list_prepend(struct list *head, struct list *link)
{
    link->next = head->next;
    link->prev = head;
    head->next->prev = link;
    head->next = link;
}

/* Take `link` out of its list, if it is in one, and leave it initialised. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Take out the first link and return it; NULL when the list is empty. */
static inline struct list *list_pop(struct list *head)
{
    struct list *first = head->next;
    if (first == head) {
        return NULL;
    }
    list_remove(first);
    return first;
}

/* Move all members of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* Visit each link; the current one must stay in the list during its turn. */
#define list_for_each(link, head)                                                                  \
    for (struct list *link = (head)->next; link != (head); link = link->next)

/* Visit each link; the current one may be removed or freed. */
#define list_for_each_safe(link, following, head)                                                  \
    for (struct list *link = (head)->next, *following = link->next; link != (head);                \
         link = following, following = link->next)

#endif
