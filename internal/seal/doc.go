// Package seal opens the root key and keeps everything at rest sealed.
//
// The root key comes from a [Provider]: a key file or a passphrase. It wraps
// the domain keys, which stand in the store at [StateKey]; each domain key
// yields one AES-256-GCM key for each [Purpose] by HKDF-SHA-256 (RFC 5869), and
// those seal records, key material and marks:
//
//	root key ──wraps──▶ domain keys ──HKDF──▶ a key for each purpose ──▶ data
//
// [Open] makes or loads all of this and returns the [Box] that the rest of the
// house seals with. The newest domain key seals, older ones still open: that is
// what [Box.Rotate] is for. [Box.Rekey] puts another root key in place without
// touching any data. A Box that has no root key is sealed and refuses all with
// [ErrSealed].
//
// The package also has the memory that raw key material is held in, [Arena].
//
// # What a sealed value is
//
//	byte  0      1, the format's version
//	bytes 1-4    id of the domain key, big-endian
//	bytes 5-16   random nonce
//	then         ciphertext, as long as the plaintext
//	last 16      GCM's tag
//
// The version, the domain key and the purpose choose the key, and the
// associated data is the caller's alone; so a change of any byte is noticed.
//
// Random nonces allow 2³² values for each domain key and purpose (NIST SP
// 800-38D, 8.3); [Box.Rotate] starts anew.
package seal
