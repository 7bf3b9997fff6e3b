package call

import "github.com/keyreeve/keyreeve/policy"

// LayerCount is how many layers of policies a decision has.
const LayerCount = 7

// A Denial is what authorization was asked when it denied: enough, with the
// call, to ask it again. It has nothing of the request that no policy sees.
type Denial struct {
	Action string
	Region string // in which it was decided: of a part of the call, it may be another than the call's
	// Hidden says that nothing is told of the resource, not even whether there
	// is one. Nothing of it is here then.
	Hidden         bool
	Resource       string // ARN, or "*"
	Account        string // that owns it
	FromCiphertext bool
	// OnlyEndpoint says that nothing but the policy of the VPC endpoint kept the
	// call from being allowed.
	OnlyEndpoint bool

	Values  policy.Values // condition keys of the request's parameters, by name
	Tags    []Pair        // aws:RequestTag/…
	Context []Pair        // the encryption context
	Grants  []string      // ids of the grants that grant tokens stood for
	Child   *DeniedGrant  // that was to be made
	Retired string        // id of the grant that was to be retired

	// Marks are for each layer of what its policies were. They are equal while
	// nothing of them has changed, in one process.
	Marks [LayerCount]uint64
}

// DeniedGrant is a grant that was asked for.
type DeniedGrant struct {
	Operations     []string
	Equals, Subset []Pair // constraints on the encryption context
	SourceARN      string
}
