# Makes versions.json of upstream.env: the names that `boxyard version` prints.
BEGIN {
	FS = "="
	split("docker containerd runc kubernetes etcd coredns buildkit distribution docker_cli buildx compose helm cni pause", names, " ")
}
{ value[$1] = $2 }
END {
	printf "{"
	for (i = 1; i in names; i++) {
		shown = names[i]
		gsub("_", "-", shown)
		printf "%s\n  \"%s\": \"%s\"", (i > 1 ? "," : ""), shown, value[names[i]]
	}
	print "\n}"
}
