module github.com/keyreeve/keyreeve

go 1.26
