// The program of the image hello-world.
#include <stdio.h>

int main(void) {
	return puts("\nHello from Docker!\nThis message shows that your installation appears to be working correctly.\n") == EOF;
}
