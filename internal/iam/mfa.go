package iam

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"rsc.io/qr"

	"github.com/keyreeve/keyreeve/internal/api/iamapi"
	"github.com/keyreeve/keyreeve/internal/arn"
	"github.com/keyreeve/keyreeve/internal/call"
	"github.com/keyreeve/keyreeve/internal/identity"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/wire"
)

func errNoSuchDevice(serial string) *wire.Error {
	return iamapi.NoSuchEntity("VirtualMFADevice with serial number " + serial + " does not exist.")
}

// useDevice finds an MFA device of the caller's account and decides the call's
// own action on it. It is there if there is no error.
func (s *Service) useDevice(ctx context.Context, c *call.Call, serial string, q conditions) (*identity.MFADevice, error) {
	t := &target{arn: serial, account: c.Caller.Account}
	if !arn.Is(serial) {
		// A hardware device; of which there are none.
		t.arn = arnOf("mfa", c.Caller.Account, "/", serial)
	}
	v, err := s.dir.MFADevice(ctx, serial)
	missing := errors.Is(err, identity.ErrNotFound) || err == nil && v.Account != c.Caller.Account
	switch {
	case err != nil && !missing:
		return nil, err
	case !missing:
		t.tags = v.Tags
	}
	if err := s.decide(ctx, c, c.Operation.Name, t, &q); err != nil {
		return nil, err
	}
	if missing {
		return nil, errNoSuchDevice(serial)
	}
	return &v, nil
}

// CreateVirtualMFADevice implements [iamapi.Handler]. No other operation tells
// the seed.
func (s *Service) CreateVirtualMFADevice(ctx context.Context, c *call.Call, in *iamapi.CreateVirtualMFADeviceInput, out *iamapi.CreateVirtualMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).createVirtualMFADevice)
}

func (s *Service) createVirtualMFADevice(ctx context.Context, c *call.Call, in *iamapi.CreateVirtualMFADeviceInput, out *iamapi.CreateVirtualMFADeviceOutput) error {
	q, err := checkTags(in.Tags, textDuplicateTags)
	if err != nil {
		return err
	}
	path, err := checkPath("path", in.Path)
	if err != nil {
		return err
	}
	t := &target{arn: arnOf("mfa", c.Caller.Account, path, in.VirtualMFADeviceName), account: c.Caller.Account}
	if err := s.decideNew(ctx, c, "TagMFADevice", t, &q); err != nil {
		return err
	}
	v, seed, err := s.dir.CreateMFADevice(ctx, identity.MFADevice{
		Account: c.Caller.Account, Path: path, Name: in.VirtualMFADeviceName, Tags: q.tags,
	})
	if err != nil {
		return err
	}
	defer seed.Wipe()
	text := base32.StdEncoding.WithPadding(base32.NoPadding).AppendEncode(nil, seed.Reveal())
	out.VirtualMFADevice = &iamapi.VirtualMFADevice{
		SerialNumber:     v.SerialNumber,
		Base32StringSeed: secret.New(text), // both are wiped once they are encoded
		Tags:             apiTags(v.Tags),
	}
	out.VirtualMFADevice.QRCodePNG, err = qrCode(&v, text)
	return err
}

// qrCode returns a picture of what phones read a device from, a PNG. Source:
// VirtualMFADevice in the IAM API Reference. What the library makes of it on the
// way is left to the garbage collector.
func qrCode(v *identity.MFADevice, seed []byte) (secret.Bytes, error) {
	code, err := qr.Encode("otpauth://totp/"+v.Name+"@"+v.Account+"?secret="+string(seed), qr.M)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("drawing a QR code: %w", err) // it holds up to 2,331 bytes
	}
	png := code.PNG()
	clear(code.Bitmap)
	return secret.New(png), nil
}

// EnableMFADevice implements [iamapi.Handler].
func (s *Service) EnableMFADevice(ctx context.Context, c *call.Call, in *iamapi.EnableMFADeviceInput, out *iamapi.EnableMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).enableMFADevice)
}

func (s *Service) enableMFADevice(ctx context.Context, c *call.Call, in *iamapi.EnableMFADeviceInput, _ *iamapi.EnableMFADeviceOutput) error {
	f, err := s.use(ctx, c, aUser, in.UserName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.EnableMFADevice(ctx, f.Account, f.name, in.SerialNumber, in.AuthenticationCode1, in.AuthenticationCode2)
}

// ResyncMFADevice implements [iamapi.Handler].
func (s *Service) ResyncMFADevice(ctx context.Context, c *call.Call, in *iamapi.ResyncMFADeviceInput, out *iamapi.ResyncMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).resyncMFADevice)
}

func (s *Service) resyncMFADevice(ctx context.Context, c *call.Call, in *iamapi.ResyncMFADeviceInput, _ *iamapi.ResyncMFADeviceOutput) error {
	f, err := s.use(ctx, c, aUser, in.UserName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.ResyncMFADevice(ctx, f.Account, f.name, in.SerialNumber, in.AuthenticationCode1, in.AuthenticationCode2)
}

// DeactivateMFADevice implements [iamapi.Handler].
func (s *Service) DeactivateMFADevice(ctx context.Context, c *call.Call, in *iamapi.DeactivateMFADeviceInput, out *iamapi.DeactivateMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deactivateMFADevice)
}

func (s *Service) deactivateMFADevice(ctx context.Context, c *call.Call, in *iamapi.DeactivateMFADeviceInput, _ *iamapi.DeactivateMFADeviceOutput) error {
	f, err := s.use(ctx, c, aUser, in.UserName, conditions{})
	if err != nil {
		return err
	}
	return s.dir.DeactivateMFADevice(ctx, f.Account, f.name, in.SerialNumber)
}

// DeleteVirtualMFADevice implements [iamapi.Handler].
func (s *Service) DeleteVirtualMFADevice(ctx context.Context, c *call.Call, in *iamapi.DeleteVirtualMFADeviceInput, out *iamapi.DeleteVirtualMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).deleteVirtualMFADevice)
}

func (s *Service) deleteVirtualMFADevice(ctx context.Context, c *call.Call, in *iamapi.DeleteVirtualMFADeviceInput, _ *iamapi.DeleteVirtualMFADeviceOutput) error {
	if _, err := s.useDevice(ctx, c, in.SerialNumber, conditions{}); err != nil {
		return err
	}
	return s.dir.DeleteMFADevice(ctx, in.SerialNumber)
}

// GetMFADevice implements [iamapi.Handler].
func (s *Service) GetMFADevice(ctx context.Context, c *call.Call, in *iamapi.GetMFADeviceInput, out *iamapi.GetMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).getMFADevice)
}

func (s *Service) getMFADevice(ctx context.Context, c *call.Call, in *iamapi.GetMFADeviceInput, out *iamapi.GetMFADeviceOutput) error {
	devices, user, err := s.devicesOf(ctx, c, in.UserName)
	if err != nil {
		return err
	}
	for i := range devices {
		if v := &devices[i]; v.SerialNumber == in.SerialNumber {
			out.UserName, out.SerialNumber, out.EnableDate = user, v.SerialNumber, v.Enabled
			return nil
		}
	}
	return errNoSuchDevice(in.SerialNumber)
}

// devicesOf decides the call's own action on a user, the caller if there is no
// name, and returns the user's devices and name. The root user has none here.
func (s *Service) devicesOf(ctx context.Context, c *call.Call, name string) ([]identity.MFADevice, string, error) {
	user, err := s.useOwn(ctx, c, name)
	if err != nil || user == "" {
		return nil, user, err
	}
	devices, err := s.dir.UserMFADevices(ctx, c.Caller.Account, user)
	return devices, user, err
}

// ListMFADevices implements [iamapi.Handler].
func (s *Service) ListMFADevices(ctx context.Context, c *call.Call, in *iamapi.ListMFADevicesInput, out *iamapi.ListMFADevicesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listMFADevices)
}

func (s *Service) listMFADevices(ctx context.Context, c *call.Call, in *iamapi.ListMFADevicesInput, out *iamapi.ListMFADevicesOutput) error {
	devices, user, err := s.devicesOf(ctx, c, in.UserName)
	if err != nil {
		return err
	}
	bySerial := func(v identity.MFADevice) string { return v.SerialNumber }
	devices, out.IsTruncated, out.Marker, err = page(s, c, user, in.Marker, in.MaxItems, devices, bySerial, strings.Compare)
	if err != nil {
		return err
	}
	out.MFADevices = make([]iamapi.MFADevice, len(devices))
	for i := range devices {
		out.MFADevices[i] = iamapi.MFADevice{UserName: user, SerialNumber: devices[i].SerialNumber, EnableDate: devices[i].Enabled}
	}
	return nil
}

// ListVirtualMFADevices implements [iamapi.Handler].
func (s *Service) ListVirtualMFADevices(ctx context.Context, c *call.Call, in *iamapi.ListVirtualMFADevicesInput, out *iamapi.ListVirtualMFADevicesOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listVirtualMFADevices)
}

func (s *Service) listVirtualMFADevices(ctx context.Context, c *call.Call, in *iamapi.ListVirtualMFADevicesInput, out *iamapi.ListVirtualMFADevicesOutput) error {
	if err := s.decideAll(ctx, c, arnOf("mfa", c.Caller.Account, "/", "")); err != nil {
		return err
	}
	var assigned *bool
	switch in.AssignmentStatus {
	case iamapi.AssignmentStatusTypeAssigned:
		assigned = new(bool)
		*assigned = true
	case iamapi.AssignmentStatusTypeUnassigned:
		assigned = new(bool)
	}
	devices, truncated, marker, err := stored(s, c, string(in.AssignmentStatus), "", in.Marker, in.MaxItems, func(p identity.Page) ([]identity.MFADevice, string, error) {
		return s.dir.MFADevices(ctx, c.Caller.Account, p, assigned)
	})
	if err != nil {
		return err
	}
	out.VirtualMFADevices, out.IsTruncated, out.Marker = make([]iamapi.VirtualMFADevice, len(devices)), truncated, marker
	for i := range devices {
		listed := &out.VirtualMFADevices[i]
		listed.SerialNumber = devices[i].SerialNumber
		if devices[i].UserID == "" {
			continue
		}
		u, err := s.dir.UserByID(ctx, devices[i].UserID)
		if errors.Is(err, identity.ErrNotFound) {
			continue // deleted meanwhile, or underneath
		}
		if err != nil {
			return err
		}
		listed.User, listed.EnableDate = &listedUsers([]identity.User{u})[0], devices[i].Enabled
	}
	return nil
}

// TagMFADevice implements [iamapi.Handler].
func (s *Service) TagMFADevice(ctx context.Context, c *call.Call, in *iamapi.TagMFADeviceInput, out *iamapi.TagMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).tagMFADevice)
}

func (s *Service) tagMFADevice(ctx context.Context, c *call.Call, in *iamapi.TagMFADeviceInput, _ *iamapi.TagMFADeviceOutput) error {
	q, err := checkTags(in.Tags, textDuplicateTags)
	if err != nil {
		return err
	}
	if _, err := s.useDevice(ctx, c, in.SerialNumber, q); err != nil {
		return err
	}
	return s.dir.TagMFADevice(ctx, in.SerialNumber, q.tags)
}

// UntagMFADevice implements [iamapi.Handler].
func (s *Service) UntagMFADevice(ctx context.Context, c *call.Call, in *iamapi.UntagMFADeviceInput, out *iamapi.UntagMFADeviceOutput) error {
	return serve(ctx, s, c, in, out, (*Service).untagMFADevice)
}

func (s *Service) untagMFADevice(ctx context.Context, c *call.Call, in *iamapi.UntagMFADeviceInput, _ *iamapi.UntagMFADeviceOutput) error {
	if _, err := s.useDevice(ctx, c, in.SerialNumber, conditions{tagKeys: in.TagKeys}); err != nil {
		return err
	}
	return s.dir.UntagMFADevice(ctx, in.SerialNumber, in.TagKeys)
}

// ListMFADeviceTags implements [iamapi.Handler].
func (s *Service) ListMFADeviceTags(ctx context.Context, c *call.Call, in *iamapi.ListMFADeviceTagsInput, out *iamapi.ListMFADeviceTagsOutput) error {
	return serve(ctx, s, c, in, out, (*Service).listMFADeviceTags)
}

func (s *Service) listMFADeviceTags(ctx context.Context, c *call.Call, in *iamapi.ListMFADeviceTagsInput, out *iamapi.ListMFADeviceTagsOutput) error {
	v, err := s.useDevice(ctx, c, in.SerialNumber, conditions{})
	if err != nil {
		return err
	}
	out.Tags, out.IsTruncated, out.Marker, err = s.tagPage(c, v.SerialNumber, in.Marker, in.MaxItems, v.Tags, byKey)
	return err
}
