package index

import (
	"encoding/binary"
	"math/bits"
)

// hashKey is the key of the hashes of a run.
type hashKey [16]byte

// term returns the hash of an attribute with a value.
func (k *hashKey) term(a Attribute, value string) uint64 {
	v0, v1, v2, v3 := k.begin()
	// The attribute goes first, as the first byte of the message.
	word, n := uint64(a), 1
	for i := range len(value) {
		word |= uint64(value[i]) << (8 * (n & 7))
		if n++; n&7 == 0 {
			v0, v1, v2, v3 = compress(v0, v1, v2, v3, word)
			word = 0
		}
	}
	word |= uint64(n) << 56
	return finish(compress(v0, v1, v2, v3, word))
}

// SipHash-2-4 is from "SipHash: a fast short-input PRF" by Jean-Philippe
// Aumasson and Daniel J. Bernstein, 2012.

func (k *hashKey) begin() (v0, v1, v2, v3 uint64) {
	k0, k1 := binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])
	return k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573
}

func compress(v0, v1, v2, v3, word uint64) (_, _, _, _ uint64) {
	v3 ^= word
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	return v0 ^ word, v1, v2, v3
}

func finish(v0, v1, v2, v3 uint64) uint64 {
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func round(v0, v1, v2, v3 uint64) (_, _, _, _ uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
