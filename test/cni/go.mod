module github.com/seed59451c2b/osl/test/cni

go 1.26.0
