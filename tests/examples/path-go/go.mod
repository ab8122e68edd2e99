module example.test/path

go 1.19
