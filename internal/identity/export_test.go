package identity

import (
	"time"

	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/record"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Recode decodes a record of a kind and encodes it again.
func Recode(rec record.Record) ([]byte, error) {
	switch {
	case rec.Kind == record.KindAccount:
		a, err := decodeAccount(rec)
		return a.encode(), err
	case rec.Kind == record.KindUser:
		return recodeEntity(rec, UserEntity)
	case rec.Kind == record.KindGroup:
		return recodeEntity(rec, GroupEntity)
	case rec.Kind == record.KindRole:
		return recodeEntity(rec, RoleEntity)
	case rec.Kind == record.KindPolicy:
		p, err := decodeManaged(rec)
		return p.encode(), err
	case rec.Kind == record.KindUnique:
		u, err := decodeUnique(rec)
		return u.encode(), err
	case rec.Kind == record.KindAccessKey:
		k, err := decodeAccessKey(rec)
		return k.encode(), err
	case rec.Kind == record.KindOIDCProvider:
		p, err := decodeOIDCProvider(rec)
		return p.encode(), err
	case rec.Kind == record.KindMFADevice:
		v, err := decodeDevice(rec)
		return v.encode(), err
	case rec.Kind == record.KindMFAOwner:
		list, err := decodeMFAOwner(rec)
		return encodeMFAOwner(list), err
	case rec.Kind == record.KindOrganization:
		o, err := decodeOrganization(rec)
		return o.encode(), err
	case rec.Kind == record.KindUnit:
		u, err := decodeUnit(rec)
		return u.encode(), err
	case rec.Kind == record.KindAccountRequest:
		q, err := decodeAccountRequest(rec)
		return q.encode(), err
	case rec.Kind == record.KindLastUse:
		u, err := decodeUse(rec)
		return u.encode(), err
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

// TicketSeeds returns contents of session tokens: one with all that there can be,
// one without what an identity provider says, and one with little.
func TicketSeeds() [][]byte {
	full := ticket{
		kind: RoleSession, account: "111122223333", issuer: "worker", id: "AROA", name: "session", chained: true,
		issued: time.UnixMilli(1), expires: time.UnixMilli(2), secret: secret.New([]byte("s")), sourceIdentity: "alice", mfa: time.UnixMilli(3),
		provider: "arn", claims: []call.Pair{{Name: "idp:sub", Value: "s"}},
		policy: "{}", managed: []reference{{Name: "arn", Value: "ANPA"}}, tags: []Tag{{Name: "k", Value: "v"}}, transitive: []string{"k"},
	}
	own := full
	own.provider, own.claims = "", nil
	little := ticket{kind: UserSession, root: true, account: "111122223333", id: "111122223333", issued: time.UnixMilli(1), expires: time.UnixMilli(2), secret: secret.New([]byte("s"))}
	return [][]byte{full.encode(), own.encode(), little.encode()}
}

// TicketVersion1 returns the content of a session token as the first version of
// this package had it, which knew no identity providers; of a content that has
// none.
func TicketVersion1(content []byte) ([]byte, error) {
	t, err := decodeTicket(content)
	if err != nil {
		return nil, err
	}
	b := t.encode()
	packed := t.encodePacked(nil)
	b = b[:len(b)-len(packed)-len(appendPairs(appendString(nil, t.provider), t.claims))]
	b[0] = 1
	return append(b, packed...), nil
}

// RecodeTicket decodes the content of a session token and encodes it again.
func RecodeTicket(content []byte) ([]byte, error) {
	t, err := decodeTicket(content)
	if err != nil {
		return nil, err
	}
	return t.encode(), nil
}

// Changed is what the Directory is told when a record has changed.
func (d *Directory) Changed(key string) { d.changed(key) }

// Compiled returns the number of compiled policies that are shared.
func (d *Directory) Compiled() int {
	d.compiled.mu.Lock()
	defer d.compiled.mu.Unlock()
	return len(d.compiled.known)
}

// Sessions returns the number of sessions that are kept.
func (d *Directory) Sessions() int {
	n := 0
	for i := range d.sessions.shards {
		sh := &d.sessions.shards[i]
		sh.mu.RLock()
		n += len(sh.known)
		sh.mu.RUnlock()
	}
	return n
}

// AccountRequestSeed is the value of the record of a request for an account.
func AccountRequestSeed() []byte {
	r := AccountRequest{Email: "a@example.com", Name: "a", Role: "r", Tags: []Tag{{Name: "k", Value: "v"}}, State: AccountSucceeded, Account: "111122223333"}
	return r.encode()
}
