/*
 * /bin/sh of the image that stands in for upstream's busybox. Debian's busybox has a shell that drops
 * environment variables whose names are no identifiers, such as data-1, and specs look for them; its messages
 * are what other specs compare with. So: busybox' shell, or bash where that would lose something.
 */
#include <ctype.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int identifier(const char *variable)
{
	const char *c = variable;

	if (!isalpha((unsigned char)*c) && *c != '_')
		return 0;
	while (isalnum((unsigned char)*c) || *c == '_')
		c++;
	return *c == '=';
}

int main(int argc, char **argv)
{
	const char *program = "/bin/busybox";
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	for (char **variable = environ; *variable; variable++)
		if (!identifier(*variable))
			program = "/bin/bash-static";
	if (argc == 0)
		return 127;
	name = name ? name + 1 : argv[0];
	if (strcmp(name, "sh") != 0 && strcmp(name, "-sh") != 0)
		argv[0] = "sh"; /* busybox goes by its name */
	execv(program, argv);
	return 127;
}
