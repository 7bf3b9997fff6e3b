package keyring

import (
	"time"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// The pure parts of an import, for their tests.
var (
	Unwrap           = unwrap
	UnwrapKWP        = unwrapKWP
	CheckWrapping    = checkWrapping
	ImportedMaterial = importedMaterial
)

// GenerateMaterial makes material of a spec, and its public key.
func GenerateMaterial(s Spec) (material, public []byte, err error) {
	if s.asymmetric() {
		return generatePair(s)
	}
	return make([]byte, s.rawLen()), nil, nil
}

// EncodeImportToken encodes what an import token says.
func EncodeImportToken(a WrappingAlgorithm, w Spec, until time.Time, pkcs8 []byte) []byte {
	t := importToken{algorithm: a, wrapping: w, until: until, pkcs8: pkcs8}
	return t.append(nil)
}

// DecodeImportToken is its inverse.
func DecodeImportToken(b []byte) (a WrappingAlgorithm, w Spec, until time.Time, pkcs8 []byte, ok bool) {
	t, ok := decodeImportToken(b)
	return t.algorithm, t.wrapping, t.until, t.pkcs8, ok
}

// ImportTokens is what import tokens are sealed for, and ImportAAD with what.
const ImportTokens = seal.Tokens

// ImportAAD is the associated data of a key's import tokens.
func ImportAAD(arn string) []byte { return appendImportAAD(nil, arn) }
