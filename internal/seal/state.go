package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/hint"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// StateKey is the store key of the seal state.
const StateKey = "v1/sys/seal"

// maxDomainKeys bounds the seal state. A rotation a day fills it in ten years.
const maxDomainKeys = 4096

const (
	stateVersion = 1
	checkSize    = 32
	gcmOverhead  = 12 + 16 // nonce and tag
	wrappedSize  = rootSize + gcmOverhead
	entrySize    = 4 + 8 + wrappedSize
)

// state is the seal state. At rest:
//
//	1   version, 1
//	8   generation: 1, and one more with every change
//	8   when the root key was put in place, Unix seconds
//	1+n kind of the provider, with its length before it
//	1+n the provider's parameters, likewise
//	32  key check: derived from the root key, tells whether it is the right one
//	4   id of the domain key that seals
//	2   number of domain keys, then for each, in order of ids
//	    4   id
//	    8   when it was made, Unix seconds
//	    60  the key, wrapped by AES-256-GCM under the root key: nonce, ciphertext, tag;
//	        its id and time are associated data
//	28  seal over all of the above (AES-256-GCM of nothing with it as associated data)
//
// All numbers are big-endian.
type state struct {
	generation uint64
	rekeyed    time.Time
	kind       string
	params     []byte
	check      []byte
	active     uint32
	domains    []domainEntry
	tag        []byte
	text       []byte // all but tag, as it was parsed
}

type domainEntry struct {
	id      uint32
	created time.Time
	wrapped []byte
}

// derive returns n bytes derived from key for one use.
func derive(key []byte, use string, n int) []byte {
	b, err := hkdf.Key(sha256.New, key, nil, "keyreeve/seal/v1/"+use, n)
	if err != nil {
		// Only lengths could be wrong, and they are constants.
		panic("seal: " + err.Error())
	}
	return b
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("seal: " + err.Error()) // only the key's length could be wrong
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return aead
}

// derivedGCM returns the AEAD of a key derived from key for one use.
func derivedGCM(key []byte, use string) cipher.AEAD {
	k := derive(key, use, rootSize)
	defer clear(k)
	return newGCM(k)
}

func (e *domainEntry) aad() []byte {
	b := make([]byte, 0, 12)
	b = binary.BigEndian.AppendUint32(b, e.id)
	return binary.BigEndian.AppendUint64(b, uint64(e.created.Unix()))
}

func (e *domainEntry) wrap(root, domain secret.Bytes) {
	e.wrapped = derivedGCM(root.Reveal(), "wrap").Seal(nil, nil, domain.Reveal(), e.aad())
}

func (e *domainEntry) unwrap(aead cipher.AEAD) (secret.Bytes, error) {
	b, err := aead.Open(nil, nil, e.wrapped, e.aad())
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("%w: domain key %d", ErrTampered, e.id)
	}
	return secret.New(b), nil
}

// marshal encodes s and seals it under the root key.
func (s *state) marshal(root secret.Bytes) []byte {
	b := make([]byte, 0, 128+len(s.params)+len(s.domains)*entrySize)
	b = append(b, stateVersion)
	b = binary.BigEndian.AppendUint64(b, s.generation)
	b = binary.BigEndian.AppendUint64(b, uint64(s.rekeyed.Unix()))
	b = append(b, byte(len(s.kind)))
	b = append(b, s.kind...)
	b = append(b, byte(len(s.params)))
	b = append(b, s.params...)
	b = append(b, derive(root.Reveal(), "check", checkSize)...)
	b = binary.BigEndian.AppendUint32(b, s.active)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.domains)))
	for i := range s.domains {
		b = append(b, s.domains[i].aad()...)
		b = append(b, s.domains[i].wrapped...)
	}
	tag := derivedGCM(root.Reveal(), "state").Seal(nil, nil, nil, b)
	return append(b, tag...)
}

// parseState decodes a seal state. It checks the form alone: nothing in it is
// to be believed before verify.
func parseState(text []byte) (*state, error) {
	r := reader{b: text}
	if v := r.take(1); r.short {
		return nil, fmt.Errorf("%w: it is empty", ErrTampered)
	} else if v[0] != stateVersion {
		return nil, hint.Add(fmt.Errorf("%w: version %d is unknown", ErrTampered, v[0]), "was the store written by a newer keyreeve?")
	}
	s := new(state)
	s.generation = binary.BigEndian.Uint64(r.take(8))
	s.rekeyed = unixTime(r.take(8))
	s.kind = string(r.take(int(r.take(1)[0])))
	s.params = r.take(int(r.take(1)[0]))
	s.check = r.take(checkSize)
	s.active = binary.BigEndian.Uint32(r.take(4))
	n := int(binary.BigEndian.Uint16(r.take(2)))
	if r.short || n == 0 || n > maxDomainKeys || len(r.b) != n*entrySize+gcmOverhead {
		return nil, fmt.Errorf("%w: it is cut or too long", ErrTampered)
	}
	s.domains = make([]domainEntry, n)
	found := false
	for i := range s.domains {
		e := &s.domains[i]
		e.id = binary.BigEndian.Uint32(r.take(4))
		e.created = unixTime(r.take(8))
		e.wrapped = r.take(wrappedSize)
		if i > 0 && e.id <= s.domains[i-1].id {
			return nil, fmt.Errorf("%w: domain keys are out of order", ErrTampered)
		}
		found = found || e.id == s.active
	}
	if !found {
		return nil, fmt.Errorf("%w: the active domain key is missing", ErrTampered)
	}
	s.text = text[:len(text)-gcmOverhead]
	s.tag = r.take(gcmOverhead)
	return s, nil
}

// verify tells whether root is the state's root key and the state is whole.
func (s *state) verify(root secret.Bytes) error {
	check := derive(root.Reveal(), "check", checkSize)
	if !hmac.Equal(check, s.check) {
		return ErrWrongRoot
	}
	if _, err := derivedGCM(root.Reveal(), "state").Open(nil, nil, s.tag, s.text); err != nil {
		return ErrTampered
	}
	return nil
}

// clone returns a copy of s that can be changed and marshalled.
func (s *state) clone() *state {
	c := *s
	c.params = bytes.Clone(s.params)
	c.domains = append([]domainEntry(nil), s.domains...)
	c.text, c.tag, c.check = nil, nil, nil
	return &c
}

// reader takes bytes off the front; once there are too few, it hands out zeros.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.short, r.b = true, nil
		return make([]byte, n)
	}
	t := r.b[:n:n]
	r.b = r.b[n:]
	return t
}

func unixTime(b []byte) time.Time { return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC() }
