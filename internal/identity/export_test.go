package identity

import "github.com/keyreeve/keyreeve/internal/record"

// Recode decodes a record of a kind and encodes it again.
func Recode(rec record.Record) ([]byte, error) {
	switch {
	case rec.Kind == record.KindAccount:
		a, err := decodeAccount(rec)
		return a.encode(), err
	case rec.Kind == record.KindUser:
		return recodeEntity(rec, UserEntity)
	case rec.Kind == record.KindAccessKey:
		k, err := decodeAccessKey(rec)
		return k.encode(), err
	case rec.Key == seededKey:
		names, err := decodeSeeded(rec)
		return encodeSeeded(names), err
	default:
		in, err := decodeInstallation(rec)
		return in.encode(), err
	}
}

func recodeEntity(rec record.Record, kind EntityKind) ([]byte, error) {
	e, err := decodeEntity(kind)(rec)
	return e.encode(), err
}
