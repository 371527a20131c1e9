package access

import (
	"encoding/binary"
	"os"
)

// The binary form of a POSIX ACL, from linux/posix_acl_xattr.h: a version, then
// entries of tag, permissions and id, little-endian, in the order of their tags.
const (
	aclAttribute = "system.posix_acl_access"
	aclVersion   = 2
	noID         = 0xffffffff

	tagUserOwner  = 0x01
	tagUser       = 0x02
	tagGroupOwner = 0x04
	tagMask       = 0x10
	tagOther      = 0x20

	read    uint16 = 4
	write   uint16 = 2
	execute uint16 = 1
)

func encodeACL(mode os.FileMode, grant uint16, uids []int) []byte {
	permissions := uint16(mode.Perm())
	owner, group, other := permissions>>6&7, permissions>>3&7, permissions&7
	acl := binary.LittleEndian.AppendUint32(nil, aclVersion)
	acl = appendEntry(acl, tagUserOwner, owner, noID)
	for _, uid := range sortedUnique(uids) {
		acl = appendEntry(acl, tagUser, grant, uint32(uid))
	}
	acl = appendEntry(acl, tagGroupOwner, group, noID)
	acl = appendEntry(acl, tagMask, group|grant, noID)
	return appendEntry(acl, tagOther, other, noID)
}

func appendEntry(acl []byte, tag, permissions uint16, id uint32) []byte {
	acl = binary.LittleEndian.AppendUint16(acl, tag)
	acl = binary.LittleEndian.AppendUint16(acl, permissions)
	return binary.LittleEndian.AppendUint32(acl, id)
}
