package kms

import (
	"context"
	"strings"

	"github.com/keyreeve/keyreeve/internal/api/kmsapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/keyring"
	"github.com/keyreeve/keyreeve/internal/wire"
	"github.com/keyreeve/keyreeve/policy"
)

var (
	toPutKeyPolicy    = access{action: "kms:PutKeyPolicy", arnErrors: true}
	toGetKeyPolicy    = access{action: "kms:GetKeyPolicy", arnErrors: true}
	toListKeyPolicies = access{action: "kms:ListKeyPolicies", arnErrors: true}
)

// PutKeyPolicy implements [kmsapi.Handler].
func (s *Service) PutKeyPolicy(ctx context.Context, c *call.Call, in *kmsapi.PutKeyPolicyInput, out *kmsapi.PutKeyPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).putKeyPolicy)
}

func (s *Service) putKeyPolicy(ctx context.Context, c *call.Call, in *kmsapi.PutKeyPolicyInput, _ *kmsapi.PutKeyPolicyOutput) error {
	if in.PolicyName != "" && in.PolicyName != keyring.PolicyName {
		return wire.Validation("The only valid policy name is " + keyring.PolicyName + ".")
	}
	f, err := s.find(ctx, c, &toPutKeyPolicy, in.KeyID)
	if err != nil {
		return err
	}
	q := &asked{more: flag(bypassKey, in.BypassPolicyLockoutSafetyCheck)}
	key, err := s.useFound(ctx, c, &toPutKeyPolicy, f, q)
	if err != nil {
		return err
	}
	compiled, bindings, err := s.newPolicy(ctx, in.Policy)
	if err != nil {
		return err
	}
	if in.BypassPolicyLockoutSafetyCheck == nil || !*in.BypassPolicyLockoutSafetyCheck {
		r := f.subject.Resource()
		r.Policy, r.Grants = compiled, nil
		if err := s.checkLockout(ctx, c, newQuestion(r, q)); err != nil {
			return err
		}
	}
	return key.SetPolicy(ctx, in.Policy, bindings)
}

// policyOfNewKey puts the policy of a key to be made into its parameters.
func (s *Service) policyOfNewKey(ctx context.Context, c *call.Call, in *kmsapi.CreateKeyInput, params *keyring.CreateParams) error {
	compiled, bindings, err := s.newPolicy(ctx, in.Policy)
	if err != nil {
		return err
	}
	params.Policy, params.Bindings = in.Policy, bindings
	if in.BypassPolicyLockoutSafetyCheck != nil && *in.BypassPolicyLockoutSafetyCheck {
		return nil
	}
	q := &asked{more: flag(bypassKey, in.BypassPolicyLockoutSafetyCheck)}
	return s.checkLockout(ctx, c, newQuestion(keyring.NewResource(params, compiled), q))
}

// checkLockout refuses a key policy under which the caller could not put
// another one. It gives the question back.
func (s *Service) checkLockout(ctx context.Context, c *call.Call, q *question) error {
	defer q.done()
	ok, err := s.az.Would(ctx, c, toPutKeyPolicy.action, &q.resource, &q.request)
	if err != nil {
		return err
	}
	if !ok {
		return kmsapi.MalformedPolicyDocumentException("The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// newPolicy compiles a policy that a key is to be given, and finds whom it
// names: they must exist.
func (s *Service) newPolicy(ctx context.Context, text string) (*policy.Policy, []keyring.Binding, error) {
	if len(text) > keyring.MaxPolicy {
		return nil, nil, kmsapi.LimitExceededException("The key policy is larger than 32768 bytes.")
	}
	p, err := keyring.CompilePolicy(text, nil)
	if err != nil {
		return nil, nil, err
	}
	var bindings []keyring.Binding
	for _, n := range p.Principals() {
		id, ok, err := s.resolve(ctx, n)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			return nil, nil, kmsapi.MalformedPolicyDocumentException("Policy contains a statement with one or more invalid principals.")
		}
		if id != "" && id != n.Name {
			bindings = append(bindings, keyring.Binding{ARN: n.Name, ID: id})
		}
	}
	p, err = keyring.CompilePolicy(text, bindings)
	return p, bindings, err
}

// resolve finds whom a principal of a key policy means.
func (s *Service) resolve(ctx context.Context, n policy.Named) (id string, ok bool, err error) {
	switch {
	case n.Name == "*" && (n.Kind == "" || n.Kind == "AWS"):
		return "", true, nil
	case n.Kind == "AWS":
		return s.principals.Resolve(ctx, n.Name)
	case n.Kind == "Service":
		return "", isService(n.Name), nil
	}
	// Nobody comes to KMS as a federated or canonical user.
	return "", false, nil
}

// isService reports whether s has the form of a service principal, such as
// "cloudtrail.amazonaws.com".
func isService(s string) bool {
	name, ok := strings.CutSuffix(s, ".amazonaws.com")
	if !ok {
		name, ok = strings.CutSuffix(s, ".amazonaws.com.cn")
	}
	if !ok || name == "" || len(s) > 256 || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z', '0' <= b && b <= '9', b == '-', b == '.', b == '_':
		default:
			return false
		}
	}
	return true
}

// GetKeyPolicy implements [kmsapi.Handler].
func (s *Service) GetKeyPolicy(ctx context.Context, c *call.Call, in *kmsapi.GetKeyPolicyInput, out *kmsapi.GetKeyPolicyOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getKeyPolicy)
}

func (s *Service) getKeyPolicy(ctx context.Context, c *call.Call, in *kmsapi.GetKeyPolicyInput, out *kmsapi.GetKeyPolicyOutput) error {
	key, err := s.use(ctx, c, &toGetKeyPolicy, in.KeyID, nil)
	if err != nil {
		return err
	}
	if in.PolicyName != "" && in.PolicyName != keyring.PolicyName {
		return kmsapi.NotFoundException("No such policy exists")
	}
	if out.Policy, err = s.printPolicy(ctx, key); err != nil {
		return err
	}
	out.PolicyName = keyring.PolicyName
	return nil
}

// printPolicy prints a key's policy as AWS does: principals as they are called
// now, by their unique ids if they are gone, accounts as their roots.
func (s *Service) printPolicy(ctx context.Context, key keyring.Key) (string, error) {
	m := key.Metadata()
	p := key.Policy()
	if p == nil {
		return m.Policy, nil // it does not compile, and denies
	}
	return s.print(ctx, m.Region, p, m.Bindings)
}

// print prints the compiled policy of a key in a Region, which names those of the
// bindings.
func (s *Service) print(ctx context.Context, region string, p *policy.Policy, bindings []keyring.Binding) (string, error) {
	named := make(map[string]string, len(bindings))
	for _, b := range bindings {
		now, err := s.nameNow(ctx, b.ID)
		if err != nil {
			return "", err
		}
		named[b.ARN] = now
	}
	return layOut(p.TextWith(func(name string) string {
		if now, ok := named[name]; ok {
			return now
		}
		if arn.IsAccount(name) {
			return arn.Root(arn.Partition(region), name)
		}
		return name
	})), nil
}

// nameNow returns what a user or role is called now, or its unique id if it is
// gone.
func (s *Service) nameNow(ctx context.Context, id string) (string, error) {
	_, there, err := s.principals.Resolve(ctx, id)
	if err != nil || !there {
		return id, err
	}
	return s.principals.ARNOf(ctx, id)
}

// ListKeyPolicies implements [kmsapi.Handler].
func (s *Service) ListKeyPolicies(ctx context.Context, c *call.Call, in *kmsapi.ListKeyPoliciesInput, out *kmsapi.ListKeyPoliciesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listKeyPolicies)
}

func (s *Service) listKeyPolicies(ctx context.Context, c *call.Call, in *kmsapi.ListKeyPoliciesInput, out *kmsapi.ListKeyPoliciesOutput) error {
	if _, err := pageSize(in.Limit, 100, 1000); err != nil {
		return err
	}
	if _, err := s.use(ctx, c, &toListKeyPolicies, in.KeyID, nil); err != nil {
		return err
	}
	if in.Marker != "" {
		// There is one policy, so no list goes on; and the operation has no
		// error of its own for it.
		return wire.Validation("The marker is not valid.")
	}
	out.PolicyNames = []string{keyring.PolicyName}
	return nil
}

// anybody takes whatever has the form of a principal for one that exists.
type anybody struct{}

func (anybody) Resolve(_ context.Context, principal string) (string, bool, error) {
	return "", arn.IsAccount(principal) || isPrincipal(principal), nil
}

func (anybody) ARNOf(_ context.Context, id string) (string, error) { return id, nil }

// isPrincipal reports whether s has the form of a principal's ARN: of an
// account, user, role, role session or federated user.
func isPrincipal(s string) bool {
	a, err := arn.Parse(s)
	if err != nil || a.Region != "" || a.Account == "" || strings.ContainsAny(s, "*?") {
		return false
	}
	kind, name, _ := strings.Cut(a.Resource, "/")
	switch a.Service + " " + kind {
	case "iam root":
		return a.Resource == "root"
	case "iam user", "iam role", "sts federated-user":
		return name != ""
	case "sts assumed-role":
		role, session, _ := strings.Cut(name, "/")
		return role != "" && session != ""
	}
	return false
}
