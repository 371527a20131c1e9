// What Go calls of wrap.c.

#include <stddef.h>

// Whether runc's calls come here.
int filter_wrapped(void);

// From now on every filter of this process is program, whatever its rules are. It must stay where it is.
void filter_give(const void *program, size_t length);

// From now on a filter is written to fd when it is compiled, and then fails with ECANCELED. -1 ends that.
void filter_capture(int fd);
