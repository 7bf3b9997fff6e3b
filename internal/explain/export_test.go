package explain

// Find returns what is kept of a denial, for tests: whose it is and what the
// caller was answered.
func (d *Denials) Find(id string) (account, text string, err error) {
	account, e, err := d.find(id)
	if err != nil {
		return "", "", err
	}
	return account, e.Text, nil
}

// Size returns how many denials are kept, and in how many bytes.
func (d *Denials) Size() (n, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all.Len(), d.bytes
}

// Sealed returns what is kept of all denials, as it is kept.
func (d *Denials) Sealed() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all [][]byte
	for _, n := range d.kept {
		all = append(all, n.sealed)
	}
	return all
}

// Exempt is what takes the place of a Deny statement.
func Exempt(text, who, action, resource string, alone, whole bool) (list []string, wider string, err error) {
	s, err := readStatement(text)
	if err != nil {
		return nil, "", err
	}
	all, wider := s.exempt(who, action, resource, alone, whole)
	for _, one := range all {
		list = append(list, one.text())
	}
	return list, wider, nil
}

// Like is like.
func Like(pattern, s string) bool { return like(pattern, s) }
