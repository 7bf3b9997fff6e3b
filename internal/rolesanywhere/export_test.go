package rolesanywhere

import (
	"crypto/x509"

	"github.com/keyreeve/keyreeve/internal/call"
)

// Read reads the input of CreateSession, and returns what is recorded of it.
func Read(query string, body []byte) (call.Auditable, error) {
	in, err := readInput(query, body)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// ReadList reads a revocation list, and returns what is to be seen of it: how
// many certificates it revokes, and whether it is that of an issuer.
func ReadList(der []byte, issuer *x509.Certificate) (revoked int, its bool, err error) {
	l, err := readList(der)
	if err != nil {
		return 0, false, err
	}
	s := l.of(issuer)
	if again := l.of(issuer); again != s {
		panic("it is another the second time")
	}
	return len(l.serials), s.its, s.err
}
