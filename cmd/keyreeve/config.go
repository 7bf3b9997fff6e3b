package main

import (
	"fmt"

	"github.com/keyreeve/keyreeve/internal/config"
)

type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Say what is wrong with a configuration file."`
}

type configCheckCommand struct {
	File string `arg:"" help:"The file."`
}

func (c configCheckCommand) Run(e *env) error {
	cfg, err := config.Read(c.File)
	if err != nil {
		return err
	}
	cfg.SetDefaults()
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("%s:\n%w", c.File, err)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: good\n", c.File)
	return err
}
