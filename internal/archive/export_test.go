package archive

import (
	"crypto/rsa"
	"time"
)

// What tests of parsers see of them.

// ParseObject is parseObject: what it returns, made into a name again.
func ParseObject(object string) (again string, at time.Time, ok bool) {
	n, ok := parseObject(object)
	switch {
	case !ok:
		return "", time.Time{}, false
	case n.digest:
		return n.scope.DigestObject(n.trail, n.home, n.time), n.time, true
	}
	return n.scope.LogObject(n.time, n.id), n.time, true
}

// ParseDigest is parseDigest: the end of the digest, and how many files it
// lists.
func ParseDigest(body []byte) (end time.Time, files int, err error) {
	d, err := parseDigest(body)
	if err != nil {
		return time.Time{}, 0, err
	}
	return d.end, len(d.json.Files), nil
}

// MaxRecord is the longest record that a reader takes.
const MaxRecord = maxRecord

// KeysFrom has an archive take its new keys from somewhere.
func (o *Options) KeysFrom(newKey func() (*rsa.PrivateKey, error)) { o.newKey = newKey }
