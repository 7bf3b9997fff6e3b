package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	apache, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	const (
		mit = "Permission is hereby granted, free of charge, to any person obtaining\na copy of this software and associated documentation files (the"
		bsd = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided that the following conditions are\nmet:\n"
		isc = "Permission to use, copy, modify, and distribute this software for any\npurpose with or without fee is hereby granted, provided"
	)
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"Apache":         {string(apache), []string{"Apache-2.0"}},
		"MIT":            {mit, []string{"MIT"}},
		"two clauses":    {bsd, []string{"BSD-2-Clause"}},
		"three clauses":  {bsd + "may be used to\nendorse or promote products derived from\nthis software", []string{"BSD-3-Clause"}},
		"ISC":            {isc, []string{"ISC"}},
		"two licences":   {mit + "\n\n" + string(apache), []string{"Apache-2.0", "MIT"}},
		"none":           {"All rights reserved.", nil},
		"empty":          {"", nil},
		"GPL":            {"GNU GENERAL PUBLIC LICENSE\nVersion 3", nil},
		"GPL beside MIT": {mit + "\nor the GNU General Public License", nil},
		"BUSL":           {"Business Source License 1.1", nil},
		"advertising":    {bsd + "3. All advertising materials mentioning features or use", nil},
	} {
		got, err := classify([]byte(tt.text))
		slices.Sort(got)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: classify = %v, %v; want %v", name, got, err, tt.want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, m := range map[string]*module{
		"no text":     {path: "example.com/a", texts: map[string][]byte{}},
		"notice only": {path: "example.com/a", texts: map[string][]byte{"NOTICE": []byte("by us\n")}},
		"unknown":     {path: "example.com/a", texts: map[string][]byte{"LICENSE": []byte("ask us\n")}},
	} {
		if _, err := render([]*module{m}); err == nil || !strings.Contains(err.Error(), "example.com/a") {
			t.Errorf("%s: render = %v, want an error that names the module", name, err)
		}
	}
}
