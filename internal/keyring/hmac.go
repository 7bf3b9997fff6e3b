package keyring

import (
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"sync"
)

// scratch is working memory that is wiped before it is used again.
type scratch struct {
	buf []byte
	key [32]byte // a message key
}

var scratches = sync.Pool{New: func() any { return &scratch{buf: make([]byte, 0, 1024)} }}

// free wipes s and gives it back.
func (s *scratch) free() {
	clear(s.buf[:cap(s.buf)])
	clear(s.key[:])
	if cap(s.buf) <= 8<<10 {
		scratches.Put(s)
	}
}

// appendMAC appends the HMAC (RFC 2104) of message under key to dst; key is not
// longer than a block of the hash. Outside of FIPS mode the two hashes are done
// over scratch memory, which is wiped, as crypto/hmac would leave the key,
// merely masked, on the heap until it is overwritten by chance; and it is
// quicker. In FIPS mode the module's HMAC does it.
func appendMAC(dst []byte, a Algorithm, key, message []byte) []byte {
	if fips140.Enabled() {
		return appendModuleMAC(dst, a, key, message)
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	block := macBlock(a)
	if need := block + max(len(message), sha512.Size); cap(s.buf) < need {
		s.buf = make([]byte, 0, need)
	}
	b := append(s.buf[:block], message...)
	mask(b[:block], key)
	var sum [sha512.Size]byte
	b = append(b[:block], macSum(a, b, &sum)...)
	for i := range b[:block] {
		b[i] ^= innerPad ^ outerPad
	}
	dst = append(dst, macSum(a, b, &sum)...)
	clear(sum[:])
	return dst
}

const innerPad, outerPad = 0x36, 0x5c

// mask fills block with the key, padded with zeros, and the inner pad over it.
func mask(block, key []byte) {
	clear(block[copy(block, key):])
	for i := range block {
		block[i] ^= innerPad
	}
}

// macBlock returns the block length of the hash of an HMAC algorithm.
func macBlock(a Algorithm) int {
	if a == HMACSHA384 || a == HMACSHA512 {
		return sha512.BlockSize
	}
	return sha256.BlockSize
}

// macSum puts the hash of b into buf and returns it.
func macSum(a Algorithm, b []byte, buf *[sha512.Size]byte) []byte {
	switch a {
	case HMACSHA224:
		d := sha256.Sum224(b)
		return append(buf[:0], d[:]...)
	case HMACSHA256:
		d := sha256.Sum256(b)
		return append(buf[:0], d[:]...)
	case HMACSHA384:
		d := sha512.Sum384(b)
		return append(buf[:0], d[:]...)
	default:
		*buf = sha512.Sum512(b)
		return buf[:]
	}
}

// appendModuleMAC is appendMAC by package crypto/hmac.
func appendModuleMAC(dst []byte, a Algorithm, key, message []byte) []byte {
	var h hash.Hash
	switch a {
	case HMACSHA224:
		h = hmac.New(sha256.New224, key)
	case HMACSHA256:
		h = hmac.New(sha256.New, key)
	case HMACSHA384:
		h = hmac.New(sha512.New384, key)
	default:
		h = hmac.New(sha512.New, key)
	}
	h.Write(message)
	return h.Sum(dst)
}
