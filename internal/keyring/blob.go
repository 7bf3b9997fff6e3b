package keyring

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/internal/wire"
)

// A ciphertext blob, version 1 (docs/ciphertext-format.md, with test vectors):
//
//	offset size
//	     0    1  format version: 0x01
//	     1    1  suite: 0x01 = SP 800-108 counter KDF with HMAC-SHA-256, AES-256-GCM
//	     2    1  kind of key id: 0 = UUID, 1 = multi-Region ("mrk-" and 32 hex digits)
//	     3    6  account, the number that its 12 digits are
//	     9   16  key id, the bytes of its hex digits
//	    25   32  material id
//	    57   16  salt, random
//	    73    4  CRC-32C (Castagnoli) of bytes 0 to 72
//	    77   12  nonce, random
//	    89    n  ciphertext, as long as the plaintext: 1 to 4096
//	  89+n   16  tag
//
// Integers are big-endian. Bytes 0 to 76 are the header.
//
//	message key = HMAC-SHA-256(material, 00000001 ‖ kdfLabel ‖ 00 ‖ header ‖ 00000100)
//	AAD         = header ‖ context
//	context     = number of pairs, then of each pair, in the bytewise order of
//	              the names: length of name, name, length of value, value
//
// where the number of pairs and the lengths are 32 bits. The CRC is there so
// that a blob damaged by accident is an invalid ciphertext, and not the
// ciphertext of a key that does not exist; it protects from nothing else.
const (
	blobVersion = 0x01
	blobSuite   = 0x01

	kindUUID = 0
	kindMRK  = 1

	offKind     = 2
	offAccount  = 3
	offKeyID    = 9
	offMaterial = 25
	offSalt     = 57
	offCRC      = 73
	headerLen   = 77
	nonceLen    = 12
	tagLen      = 16

	blobOverhead = headerLen + nonceLen + tagLen // 105

	// maxPlaintext is the largest plaintext of a blob, as of Encrypt.
	maxPlaintext = 4096
)

// kdfLabel separates the keys of ciphertext blobs from all else that is
// derived from a material.
const kdfLabel = "keyreeve ciphertext blob v1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what a ciphertext blob says of itself before anything of it has
// been authenticated.
type Header struct {
	Account    string // owner of the key, 12 digits
	KeyID      string
	MaterialID string // 64 hex digits
}

// Inspect reads the header of a ciphertext blob, or returns
// ErrInvalidCiphertext. Only a Decrypt proves that what it says is true.
func Inspect(blob []byte) (Header, error) {
	if !validHeader(blob) {
		return Header{}, ErrInvalidCiphertext
	}
	// One string for all three saves two allocations.
	var buf [12 + 36 + 64]byte
	b := appendAccount(buf[:0], blob[offAccount:offKeyID])
	b = appendKeyID(b, blob[offKind], blob[offKeyID:offMaterial])
	b = hex.AppendEncode(b, blob[offMaterial:offSalt])
	s := string(b)
	return Header{Account: s[:12], KeyID: s[12:48], MaterialID: s[48:]}, nil
}

// validHeader reports whether blob has the length and the header of a blob.
func validHeader(blob []byte) bool {
	if len(blob) <= blobOverhead || len(blob) > blobOverhead+maxPlaintext {
		return false
	}
	return blob[0] == blobVersion && blob[1] == blobSuite && blob[offKind] <= kindMRK &&
		account48(blob[offAccount:offKeyID]) <= maxAccount &&
		binary.BigEndian.Uint32(blob[offCRC:headerLen]) == crc32.Checksum(blob[:offCRC], castagnoli)
}

// identityLen is the length of the part of a header that is the same in all
// blobs of a material.
const identityLen = offSalt

// identity is bytes 0 to 56 of every blob that a material makes.
type identity [identityLen]byte

// newIdentity returns the identity of a material; ok is false if account, key
// id or material id are not what they should be.
func newIdentity(account, keyID, materialID string) (id identity, ok bool) {
	id[0], id[1] = blobVersion, blobSuite
	n, ok := parseAccount(account)
	if !ok {
		return id, false
	}
	putAccount(id[offAccount:offKeyID], n)
	kind, raw, ok := parseKeyID(keyID)
	if !ok {
		return id, false
	}
	id[offKind] = kind
	copy(id[offKeyID:], raw[:])
	if !parseLowerHex(id[offMaterial:offSalt], materialID) {
		return id, false
	}
	return id, true
}

// putCRC completes a header whose salt is set.
func putCRC(header []byte) {
	binary.BigEndian.PutUint32(header[offCRC:headerLen], crc32.Checksum(header[:offCRC], castagnoli))
}

// appendKDFInput appends what the KDF authenticates, for a header.
func appendKDFInput(b, header []byte) []byte {
	b = append(b, 0, 0, 0, 1)
	b = append(b, kdfLabel...)
	b = append(b, 0)
	b = append(b, header...)
	return append(b, 0, 0, 1, 0) // 256 bits
}

// isKDFInput reports whether a message begins as what the KDF authenticates, for
// whatever header.
func isKDFInput(message []byte) bool {
	rest, ok := bytes.CutPrefix(message, []byte{0, 0, 0, 1})
	return ok && len(rest) > len(kdfLabel) && string(rest[:len(kdfLabel)]) == kdfLabel && rest[len(kdfLabel)] == 0
}

// appendContext appends the canonical encoding of an encryption context.
func appendContext(b []byte, ec Context) []byte {
	byName := func(x, y wire.Pair) int { return strings.Compare(x.Name, y.Name) }
	if !slices.IsSortedFunc(ec, byName) {
		ec = slices.Clone(ec)
		slices.SortStableFunc(ec, byName)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(ec)))
	for i := range ec {
		b = binary.BigEndian.AppendUint32(b, uint32(len(ec[i].Name)))
		b = append(b, ec[i].Name...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(ec[i].Value)))
		b = append(b, ec[i].Value...)
	}
	return b
}

// maxAccount is the largest account number of 12 digits.
const maxAccount = 999_999_999_999

func account48(b []byte) uint64 {
	return uint64(b[0])<<40 | uint64(b[1])<<32 | uint64(binary.BigEndian.Uint32(b[2:6]))
}

func putAccount(b []byte, n uint64) {
	b[0], b[1] = byte(n>>40), byte(n>>32)
	binary.BigEndian.PutUint32(b[2:6], uint32(n))
}

// parseAccount returns the number of an account id.
func parseAccount(s string) (n uint64, ok bool) {
	if len(s) != 12 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return n, true
}

// appendAccount appends an account id, given its 6 bytes.
func appendAccount(dst, b []byte) []byte {
	var digits [12]byte
	n := account48(b)
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, digits[:]...)
}

const mrkPrefix = "mrk-"

// IsKeyID reports whether s has the form of a key id: a UUID in lower case, or
// that of a multi-Region key, "mrk-" and 32 hex digits in lower case.
func IsKeyID(s string) bool {
	_, _, ok := parseKeyID(s)
	return ok
}

// parseKeyID returns the kind and the bytes of a key id: a UUID in lower case,
// or "mrk-" and 32 hex digits in lower case.
func parseKeyID(s string) (kind byte, raw [16]byte, ok bool) {
	if len(s) != 36 {
		return 0, raw, false
	}
	if strings.HasPrefix(s, mrkPrefix) {
		return kindMRK, raw, parseLowerHex(raw[:], s[len(mrkPrefix):])
	}
	if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return 0, raw, false
	}
	ok = parseLowerHex(raw[:4], s[:8]) && parseLowerHex(raw[4:6], s[9:13]) && parseLowerHex(raw[6:8], s[14:18]) &&
		parseLowerHex(raw[8:10], s[19:23]) && parseLowerHex(raw[10:], s[24:])
	return kindUUID, raw, ok
}

// appendKeyID appends a key id, given its kind and its 16 bytes.
func appendKeyID(dst []byte, kind byte, raw []byte) []byte {
	if kind == kindMRK {
		return hex.AppendEncode(append(dst, mrkPrefix...), raw)
	}
	dst = hex.AppendEncode(dst, raw[:4])
	dst = hex.AppendEncode(append(dst, '-'), raw[4:6])
	dst = hex.AppendEncode(append(dst, '-'), raw[6:8])
	dst = hex.AppendEncode(append(dst, '-'), raw[8:10])
	return hex.AppendEncode(append(dst, '-'), raw[10:])
}

// parseLowerHex decodes hex digits in lower case that fill dst exactly.
func parseLowerHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := lowerHex[s[2*i]], lowerHex[s[2*i+1]]
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

// lowerHex is the value of each hex digit in lower case, 0xff for other bytes.
var lowerHex = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		table[c] = byte(i)
	}
	return table
}()
