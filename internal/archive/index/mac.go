package index

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// A Box seals the keys of runs. A [seal.Box] is one.
type Box interface {
	Seal(p seal.Purpose, aad, plaintext []byte) ([]byte, error)
	Open(p seal.Purpose, aad, sealed []byte) ([]byte, error)
}

const (
	tagSize    = 16
	runKeySize = 32
	// maxSealed bounds a sealed key: the footer has to have room for the rest.
	maxSealed = 1024
)

// keyAAD is the associated data of the key of a run: it is no key of another one.
func keyAAD(first, last uint64) []byte {
	return append([]byte("keyreeve/index\x01"), runName(first, last)...)
}

// A mac makes and checks the tags of the pages of one run. It may be used by
// many goroutines at once.
//
// A tag is that of AES-256-GCM with the payload as associated data and nothing
// to encrypt (GMAC, NIST SP 800-38D), which costs hardly more than a checksum.
// Its nonce is the number of the page, so no key may have two texts: each
// writing of a run, were it of the same name, has a new random key.
type mac struct{ aead cipher.AEAD }

func newMAC(key []byte) (mac, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return mac{}, err
	}
	aead, err := cipher.NewGCM(block)
	return mac{aead}, err
}

// sealNew returns a mac with a new key, and the key sealed.
func sealNew(box Box, first, last uint64) (m mac, sealed []byte, err error) {
	var key [runKeySize]byte
	defer clear(key[:])
	if _, err := rand.Read(key[:]); err != nil {
		return mac{}, nil, err
	}
	if sealed, err = box.Seal(seal.Journals, keyAAD(first, last), key[:]); err != nil {
		return mac{}, nil, fmt.Errorf("sealing the key of a run: %w", err)
	}
	if len(sealed) > maxSealed {
		return mac{}, nil, fmt.Errorf("%w: its key has %d bytes sealed", ErrTooLarge, len(sealed))
	}
	m, err = newMAC(key[:])
	return m, sealed, err
}

// openSealed returns the mac of a run with this name. The error wraps
// [ErrDamaged] if the key is not one that was sealed for it.
func openSealed(box Box, path string, first, last uint64, sealed []byte) (mac, error) {
	key, err := box.Open(seal.Journals, keyAAD(first, last), sealed)
	switch {
	case errors.Is(err, seal.ErrNotOpened) || errors.Is(err, seal.ErrUnknownDomainKey):
		return mac{}, damaged(path, "its key was not sealed for it: %v", err)
	case err != nil:
		return mac{}, fmt.Errorf("opening the key of %s: %w", path, err)
	}
	defer clear(key)
	if len(key) != runKeySize {
		return mac{}, damaged(path, "its key has %d bytes", len(key))
	}
	return newMAC(key)
}

// tagger makes tags. It is used by one goroutine.
type tagger struct {
	mac
	nonce [12]byte
	tag   [tagSize]byte
}

// of returns the tag of a page, until it is called again.
func (t *tagger) of(payload []byte, number int64, footer bool) []byte {
	t.nonce[0] = 0
	if footer {
		t.nonce[0] = 1
	}
	binary.BigEndian.PutUint64(t.nonce[4:], uint64(number))
	return t.aead.Seal(t.tag[:0], t.nonce[:], nil, payload)
}

// right reports whether a page has its tag.
func (t *tagger) right(page []byte, number int64, footer bool) bool {
	return subtle.ConstantTimeCompare(page[pagePayload:], t.of(page[:pagePayload], number, footer)) == 1
}
