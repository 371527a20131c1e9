#!/bin/bash
# image.sh DIR: makes a Debian 12 as users have it (systemd, cgroup v2, Debian's
# cloud kernel) in DIR: disk.raw (ext4, no partitions), vmlinuz, initrd.img and
# an SSH key pair. Packages come from the mirror that this host itself uses.
# Nothing is mounted and nothing outside DIR changes. Idempotent: a finished
# image is kept; delete DIR for a new one.
set -euo pipefail
dir=${1:?usage: image.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if [ -e "$dir/complete" ]; then
	exit 0
fi

mirror=$(awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) {print $i; exit}}' \
	/etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true)
if [ -z "$mirror" ]; then
	echo "image.sh: no Debian mirror in /etc/apt; add one and try again" >&2
	exit 1
fi

root=$dir/root
rm -rf "$root" "$dir/disk.raw"
packages=systemd-sysv,dbus,libpam-systemd,udev,kmod,initramfs-tools,linux-image-cloud-amd64
packages=$packages,openssh-server,sudo,iproute2,nftables,netbase,procps,curl,ca-certificates,e2fsprogs
# Two firewalls that people have; the test starts one, then the other.
packages=$packages,ufw,firewalld
debootstrap --variant=minbase --include="$packages" bookworm "$root" "$mirror"

[ -e "$dir/key" ] || ssh-keygen -q -t ed25519 -N '' -C boxyard-vm -f "$dir/key"
echo boxyard-vm > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 boxyard-vm\n' > "$root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' > "$root/etc/fstab"
printf '[Match]\nName=e*\n[Network]\nDHCP=yes\n' > "$root/etc/systemd/network/10-dhcp.network"
install -d -m 0700 "$root/root/.ssh"
install -m 0600 "$dir/key.pub" "$root/root/.ssh/authorized_keys"
chroot "$root" useradd -m -s /bin/bash -G sudo dev
install -d -m 0700 -o 1000 -g 1000 "$root/home/dev/.ssh"
install -m 0600 -o 1000 -g 1000 "$dir/key.pub" "$root/home/dev/.ssh/authorized_keys"
echo 'dev ALL=(ALL) NOPASSWD:ALL' > "$root/etc/sudoers.d/dev"
chmod 0440 "$root/etc/sudoers.d/dev"
echo 'ext4' >> "$root/etc/initramfs-tools/modules"
echo 'virtio_blk' >> "$root/etc/initramfs-tools/modules"
echo 'virtio_pci' >> "$root/etc/initramfs-tools/modules"
for unit in systemd-networkd.service ssh.service; do
	chroot "$root" systemctl enable "$unit"
done
for unit in firewalld.service ufw.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer; do
	chroot "$root" systemctl disable "$unit" 2>/dev/null || true
done
chroot "$root" update-initramfs -u
cp "$root"/boot/vmlinuz-* "$dir/vmlinuz"
cp "$root"/boot/initrd.img-* "$dir/initrd.img"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

truncate -s 12G "$dir/disk.raw"
mkfs.ext4 -q -F -d "$root" "$dir/disk.raw"
rm -rf "$root"
touch "$dir/complete"
