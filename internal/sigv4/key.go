package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// maxDerived is how many derived keys a Key remembers. A client uses one for
// each date, Region and service that it signs for.
const maxDerived = 16

// Key is a secret access key, with the signing keys lately derived from it.
// Any number of goroutines may use one; they share no lock. Its parts, and the
// hash states made of them, are ordinary memory and are not wiped.
type Key struct {
	secret  secret.Bytes
	derived atomic.Pointer[[]*signingKey] // newest first; replaced, never changed
}

// NewKey returns the key that signs with a secret access key, such as
// "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", which it keeps. It should have
// 40 bytes as AWS's have; with fewer than ten, Go panics where only FIPS 140
// is allowed, for HMAC keys must have 112 bits there.
func NewKey(secretAccessKey secret.Bytes) *Key { return &Key{secret: secretAccessKey} }

// A signingKey is good for one date, Region and service.
type signingKey struct {
	date, region, service string

	key  secret.Bytes
	macs sync.Pool // of hash.Hash keyed with key
}

// signingKey returns the key for a scope, and whether it was remembered.
func (k *Key) signingKey(date, region, service string) (d *signingKey, kept bool) {
	if list := k.derived.Load(); list != nil {
		for _, d := range *list {
			if d.is(date, region, service) {
				return d, true
			}
		}
	}
	start := make([]byte, 0, 64)
	start = append(start, "AWS4"...)
	start = append(start, k.secret.Reveal()...)
	b := mac(start, date)
	clear(start)
	b = mac(b, region)
	b = mac(b, service)
	return &signingKey{
		// Clones, for the strings are parts of a request, which should not
		// stay in memory with them.
		date: strings.Clone(date), region: strings.Clone(region), service: strings.Clone(service),
		key: secret.New(mac(b, terminator)),
	}, false
}

// keep remembers d. It is called once d has signed a request, so that who only
// knows an access key's id can't push out what its owner uses.
func (k *Key) keep(d *signingKey) {
	old := k.derived.Load()
	next := []*signingKey{d}
	if old != nil {
		next = append(next, (*old)[:min(len(*old), maxDerived-1)]...)
	}
	// If another goroutine was faster, a later request keeps it.
	k.derived.CompareAndSwap(old, &next)
}

func (d *signingKey) is(date, region, service string) bool {
	return d.date == date && d.region == region && d.service == service
}

// sum leaves the code of the string to sign in s.mac.
func (d *signingKey) sum(s *scratch) {
	h, ok := d.macs.Get().(hash.Hash)
	if !ok {
		h = hmac.New(sha256.New, d.key.Reveal())
	}
	h.Write(s.buf)
	h.Sum(s.mac[:0])
	h.Reset()
	d.macs.Put(h)
}

// check reports whether the string to sign in s was signed with k.
func (k *Key) check(a *Authorization, s *scratch) bool {
	d, kept := k.signingKey(a.Date, a.Region, a.Service)
	d.sum(s)
	if subtle.ConstantTimeCompare(s.mac[:], a.signature[:]) != 1 {
		return false
	}
	if !kept {
		k.keep(d)
	}
	return true
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
