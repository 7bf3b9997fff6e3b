package server_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/api/accountapi"
	"github.com/keyreeve/keyreeve/internal/api/cloudtrailapi"
	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/api/keyreeveapi"
	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/api/organizationsapi"
	"github.com/keyreeve/keyreeve/internal/api/stsapi"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/server"
)

// routed are the operations that nodes serve, by signing name.
func routed() map[string]map[string]*call.Operation {
	return map[string]map[string]*call.Operation{
		kmsapi.SigningName:           kmsapi.Operations(struct{ kmsapi.Handler }{}),
		iamapi.SigningName:           iamapi.Operations(struct{ iamapi.Handler }{}),
		stsapi.SigningName:           stsapi.Operations(struct{ stsapi.Handler }{}),
		organizationsapi.SigningName: organizationsapi.Operations(struct{ organizationsapi.Handler }{}),
		accountapi.SigningName:       accountapi.Operations(struct{ accountapi.Handler }{}),
		cloudtrailapi.SigningName:    cloudtrailapi.Operations(struct{ cloudtrailapi.Handler }{}),
		keyreeveapi.SigningName:      keyreeveapi.Operations(struct{ keyreeveapi.Handler }{}),
	}
}

// TestSafer: what is listed is there.
func TestSafer(t *testing.T) {
	// Operations of KMS that come with custom key stores.
	toCome := []string{"kms DisconnectCustomKeyStore"}
	all := routed()
	for service, names := range server.Safer {
		if !slices.IsSorted(names) {
			t.Errorf("%s: not in order: %v", service, names)
		}
		for i, name := range names {
			if i > 0 && names[i-1] == name {
				t.Errorf("%s %s is listed twice", service, name)
			}
			op, is := all[service][name]
			switch early := slices.Contains(toCome, service+" "+name); {
			case name == server.Everything:
				if len(all[service]) == 0 || len(names) > 1 {
					t.Errorf("%s: everything, of %d operations, and %v", service, len(all[service]), names)
				}
			case early == is:
				t.Errorf("%s %s: routed %v, but said to come later %v", service, name, is, early)
			case is && op.ReadOnly:
				t.Errorf("%s %s changes nothing", service, name)
			}
		}
	}
}

// notSafer are operations whose names are like those of safer ones, and why they
// are none.
var notSafer = map[string]string{
	"iam DeactivateMFADevice":         "takes a protection away",
	"iam DeletePolicy":                "of a policy that is attached nowhere, and so changes nothing for anybody",
	"organizations DeletePolicy":      "likewise",
	"organizations DetachPolicy":      "lifts a restriction",
	"organizations DisablePolicyType": "lifts restrictions",
	"kms DisableKeyRotation":          "leaves a key with its material for longer",
	"cloudtrail StopLogging":          "ends the copying of records",
}

// TestNoneIsForgotten: an operation that takes something away is listed, or it is
// said why not.
func TestNoneIsForgotten(t *testing.T) {
	takesAway := func(name string) bool {
		return strings.HasPrefix(name, "Delete") && strings.HasSuffix(name, "Policy") || slices.ContainsFunc(
			[]string{"Disable", "Revoke", "Retire", "Detach", "Deactivate", "Disconnect", "Stop"},
			func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	unused := maps.Clone(notSafer)
	for service, operations := range routed() {
		for name := range operations {
			why := notSafer[service+" "+name]
			delete(unused, service+" "+name)
			switch listed := server.IsSafer(service, name); {
			case listed && why != "":
				t.Errorf("%s %s is safer, and said not to be: %s", service, name, why)
			case takesAway(name) && !listed && why == "":
				t.Errorf("%s %s takes something away, but may not run on the reserve of the audit log", service, name)
			}
		}
	}
	for name := range unused {
		t.Errorf("%s is no operation", name)
	}
}
