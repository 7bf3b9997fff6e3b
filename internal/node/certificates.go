package node

import (
	"fmt"

	"github.com/keyreeve/keyreeve/internal/attestation"
	"github.com/keyreeve/keyreeve/internal/authz"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/rolesanywhere"
	"github.com/keyreeve/keyreeve/internal/server"
)

// openTrust reads the files of the trust anchors and of who certifies enclaves,
// so that a mistake in them shows before anything is made.
func (n *Node) openTrust() (err error) {
	if roots := n.c.Attestation.Roots; len(roots) > 0 {
		if n.roots, err = attestation.Open(roots); err != nil {
			return fmt.Errorf("attestation.roots: %w", err)
		}
	}
	c := &n.c.Certificates
	if len(c.TrustAnchors) == 0 {
		return nil
	}
	n.trust, err = rolesanywhere.Open(c, rolesanywhere.Options{Now: n.c.Now, Log: n.log})
	return err
}

// certificateService is the service to which certificates sign; there is none
// where no authority is trusted.
func (n *Node) certificateService(az *authz.Authorizer, d *identity.Directory) []server.Service {
	if n.trust == nil {
		return nil
	}
	s := rolesanywhere.New(n.trust, d, az)
	return []server.Service{{
		Name: rolesanywhere.SigningName, Protocol: server.REST, Paths: rolesanywhere.Paths(), Fault: "InternalServerException",
		Operations: s.Operations(), Certificates: s, MaxBody: rolesanywhere.MaxBody, ReadOnly: rolesanywhere.ReadOnly,
	}}
}
