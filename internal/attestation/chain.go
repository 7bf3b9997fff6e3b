package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// signer returns the key of a document's certificate, which leads to one of the
// roots, step by step as the bundle has them. Nothing is looked for, and the first
// step that is forged is the last that is looked at: who makes a document cannot
// have many ways tried, nor keys of his own that take long. What has led to a root
// is remembered: an enclave has its certificate for hours.
func (r *Roots) signer(p *payload, now time.Time) (*ecdsa.PublicKey, error) {
	id := chainID(p)
	if key := r.chains.find(id, now); key != nil {
		return key, nil
	}
	var parent *x509.Certificate
	for _, root := range r.certificates {
		if bytes.Equal(root.Raw, p.CABundle[0]) {
			parent = root
			break
		}
	}
	if parent == nil {
		return nil, invalid("is of no trusted authority")
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	options.Roots.AddCert(parent)
	c := chain{notBefore: parent.NotBefore, notAfter: parent.NotAfter}
	subjects := map[string]bool{string(parent.RawSubject): true}
	for _, der := range p.CABundle[1:] {
		next, err := x509.ParseCertificate(der)
		if err == nil {
			err = checkAuthority(next)
		}
		if err != nil {
			return nil, &Error{"has a cabundle with what is no certificate of an authority", err}
		}
		if subjects[string(next.RawSubject)] || !bytes.Equal(next.RawIssuer, parent.RawSubject) {
			return nil, invalid("has a cabundle that is no chain")
		}
		if err := next.CheckSignatureFrom(parent); err != nil {
			return nil, &Error{"has a cabundle that is no chain", err}
		}
		subjects[string(next.RawSubject)] = true
		options.Intermediates.AddCert(next)
		c.within(next)
		parent = next
	}
	leaf, err := x509.ParseCertificate(p.Certificate)
	if err != nil {
		return nil, &Error{"has a certificate that cannot be read", err}
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P384():
		return nil, invalid("has a certificate of a key that is not on the curve P-384")
	case leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return nil, invalid("has a certificate that is not for signatures")
	case subjects[string(leaf.RawSubject)] || !bytes.Equal(leaf.RawIssuer, parent.RawSubject):
		return nil, invalid("has a certificate that its cabundle does not lead to")
	}
	if err := leaf.CheckSignatureFrom(parent); err != nil {
		return nil, &Error{"has a certificate that its cabundle does not lead to", err}
	}
	if _, err := leaf.Verify(options); err != nil {
		return nil, &Error{"has a certificate that is not good", err}
	}
	c.key = key
	c.within(leaf)
	r.chains.add(id, c)
	return key, nil
}

// checkAuthority checks that a certificate is one with which others are made.
func checkAuthority(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return errors.New("a certificate that is not of an authority")
	}
	return nil
}

// chain is what certificates have led to.
type chain struct {
	key                 *ecdsa.PublicKey
	notBefore, notAfter time.Time // while all of them are valid
}

// within says that a chain is valid only while a certificate is.
func (c *chain) within(one *x509.Certificate) {
	if one.NotBefore.After(c.notBefore) {
		c.notBefore = one.NotBefore
	}
	if one.NotAfter.Before(c.notAfter) {
		c.notAfter = one.NotAfter
	}
}

// maxChains is how many chains are remembered; each is of another enclave or
// instance that AWS has certified.
const maxChains = 1024

// chains are those that were verified, to be used by several goroutines. The zero
// value has none.
type chains struct {
	mu   sync.Mutex
	byID map[[sha256.Size]byte]chain
}

// chainID tells a document's certificates from all others.
func chainID(p *payload) (id [sha256.Size]byte) {
	h := sha256.New()
	var size [4]byte
	add := func(der []byte) {
		binary.BigEndian.PutUint32(size[:], uint32(len(der)))
		h.Write(size[:])
		h.Write(der)
	}
	add(p.Certificate)
	for _, der := range p.CABundle {
		add(der)
	}
	h.Sum(id[:0])
	return id
}

// find returns the key that a chain has led to, if it is still valid; else nil.
func (s *chains) find(id [sha256.Size]byte, now time.Time) *ecdsa.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.byID[id]
	if !ok || now.Before(c.notBefore) || now.After(c.notAfter) {
		return nil
	}
	return c.key
}

// add remembers a chain, in the place of some other if there are many.
func (s *chains) add(id [sha256.Size]byte, c chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = make(map[[sha256.Size]byte]chain)
	}
	if len(s.byID) >= maxChains {
		for some := range s.byID {
			delete(s.byID, some)
			break
		}
	}
	s.byID[id] = c
}
