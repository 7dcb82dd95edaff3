sign-in = Come in
signed-in-as = Hello, { $who }.
