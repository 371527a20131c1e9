// The functions of libseccomp that runc makes a filter with, as runc calls them where the program is linked with
// --wrap for each of them (scripts/shim-ldflags.sh): __wrap_F is called for F then, and __real_F is F. Where it is not,
// nobody calls these, and there is no __real_F.

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "wrap.h"

extern int __real_seccomp_rule_add_array(scmp_filter_ctx, uint32_t, int, unsigned int, const struct scmp_arg_cmp *)
	__attribute__((weak));
extern int __real_seccomp_rule_add_exact_array(scmp_filter_ctx, uint32_t, int, unsigned int, const struct scmp_arg_cmp *)
	__attribute__((weak));
extern int __real_seccomp_export_bpf(const scmp_filter_ctx, int) __attribute__((weak));

static const char *given;    // a filter that is compiled already
static size_t given_length;
static int capture = -1;     // where a filter goes instead of into the kernel

int filter_wrapped(void)
{
	return __real_seccomp_rule_add_array && __real_seccomp_rule_add_exact_array && __real_seccomp_export_bpf;
}

void filter_give(const void *program, size_t length)
{
	given = program;
	given_length = length;
}

void filter_capture(int fd)
{
	capture = fd;
}

int __wrap_seccomp_rule_add_array(scmp_filter_ctx context, uint32_t action, int call, unsigned int count,
				  const struct scmp_arg_cmp *arguments)
{
	if (given)
		return 0;
	return __real_seccomp_rule_add_array(context, action, call, count, arguments);
}

int __wrap_seccomp_rule_add_exact_array(scmp_filter_ctx context, uint32_t action, int call, unsigned int count,
					const struct scmp_arg_cmp *arguments)
{
	if (given)
		return 0;
	return __real_seccomp_rule_add_exact_array(context, action, call, count, arguments);
}

int __wrap_seccomp_export_bpf(const scmp_filter_ctx context, int fd)
{
	size_t done = 0;

	if (capture >= 0) {
		int status = __real_seccomp_export_bpf(context, capture);
		return status ? status : -ECANCELED;
	}
	if (!given)
		return __real_seccomp_export_bpf(context, fd);
	while (done < given_length) {
		ssize_t n = write(fd, given + done, given_length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return 0;
}
