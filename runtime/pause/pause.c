/*
 * pause is the first process of every pod: it holds the pod's namespaces, and
 * with a shared process namespace it is the pod's init, so it reaps what
 * others leave behind. SIGTERM and SIGINT end it.
 *
 * C, because there is one of it per pod: a Go runtime would cost megabytes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "dev"
#endif

static void end(int sig) {
	(void)sig;
	_exit(0);
}

static void reap(int sig) {
	(void)sig;
	int saved = errno;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = saved;
}

static int handle(int sig, void (*handler)(int), int flags) {
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	action.sa_flags = flags;
	return sigaction(sig, &action, NULL);
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		puts("pause " VERSION);
		return 0;
	}
	if (handle(SIGTERM, end, 0) || handle(SIGINT, end, 0) || handle(SIGCHLD, reap, SA_NOCLDSTOP)) {
		perror("pause: sigaction");
		return 1;
	}
	for (;;)
		pause();
}
