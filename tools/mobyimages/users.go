package main

import (
	"path"

	"github.com/boxyard/boxyard/internal/ociarchive"
)

// users are those of the image busybox, whose names upstream's tests use.
const users = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`

const groups = `root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
wheel:x:10:root
audio:x:29:
www-data:x:33:
operator:x:37:
staff:x:50:
users:x:100:
nogroup:x:65534:
`

// Debian's busybox has no programs that add users.
const addUser = `#!/bin/sh
uid=1000 group=
while getopts DHu:G: option; do
	case $option in
	u) uid=$OPTARG ;;
	G) group=$OPTARG ;;
	esac
done
shift $((OPTIND - 1))
if [ "$group" ]; then
	gid=$(grep "^$group:" /etc/group | cut -d: -f3)
else
	gid=$uid
	echo "$1:x:$gid:" >>/etc/group
fi
echo "$1:x:$uid:$gid::/home/$1:/bin/sh" >>/etc/passwd
mkdir -p "/home/$1"
`

const addGroup = `#!/bin/sh
gid=1000
while getopts g: option; do gid=$OPTARG; done
shift $((OPTIND - 1))
echo "$1:x:$gid:" >>/etc/group
`

// asUpstream arranges the files as the image busybox has them, in one layer: its users, and its programs in /bin.
func asUpstream(files []ociarchive.Entry) []ociarchive.Entry {
	var arranged []ociarchive.Entry
	for _, e := range files {
		switch directory, name := path.Split(e.Name); {
		case e.Name == "etc/passwd" || e.Name == "etc/group":
			continue
		case e.Link != "" && directory != "bin/":
			e.Name = "bin/" + name
		}
		arranged = append(arranged, e)
	}
	return append(arranged,
		ociarchive.Entry{Name: "usr/bin/env", Link: "/bin/env"},
		ociarchive.Entry{Name: "etc/passwd", Mode: 0o644, Content: []byte(users)},
		ociarchive.Entry{Name: "etc/group", Mode: 0o644, Content: []byte(groups)},
		ociarchive.Entry{Name: "bin/adduser", Mode: 0o755, Content: []byte(addUser)},
		ociarchive.Entry{Name: "bin/addgroup", Mode: 0o755, Content: []byte(addGroup)},
	)
}
