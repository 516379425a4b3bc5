"""What random networks have found: a line each, as small as it got."""

from __future__ import annotations

from typing import Any

FOUND: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "two numbers in a product of derivatives": (
        ["l[n] = sum(2*0.1*x[n,i]*A[i]*size(i), i)"], {"x": (3,)}, {"parameters": {"A": ("i",)}}),
    "gathered and scattered parts of one adjoint have names of their own": (
        ["l[n] = sum(cos(A[y[n],j+3] + A[j,i])*(i+1), i, j)"], {"y": {"shape": (), "classes": 1}},
        {"parameters": {"A": ("j", "i")}, "sizes": {"i": 4, "j": 1}}),
    "two scatters into one adjoint": (
        ["l[n] = sum(cos(A[y[n],3] + A[j,i]*A[y[n],1])*(i+1), i, j)"], {"y": {"shape": (), "classes": 2}},
        {"parameters": {"A": ("j", "i")}, "sizes": {"i": 4, "j": 2}}),
    "place of a minimum over the batch, which does not come first": (
        ["z[i] = A[i]*min(x[n,i]*(p+1), p, n)", "l[n] = sum(z[i]*x[n,i], i)"], {"x": (1,)},
        {"parameters": {"A": ("i",)}, "sizes": {"i": 1, "p": 2}}),
    "time read in two subscripts": (
        ["z[n,i,p] = tanh(0.5*z[n,i,p-1] + c[n,p,p-1]*x[n,i])", "c[n,i,p] = tanh(0.5*z[n,i,p-1] + x[n,i])",
         "l[n] = sum(z[n,i,p]*(i + 1), i, p)"], {"x": (4,)}, {"sizes": {"i": 4, "p": 4}}),
    "time read in two subscripts, downwards": (
        ["z[n,i,p] = tanh(0.5*z[n,i,p+1] + z[n,p,p+1]*x[n,i])", "l[n] = sum(z[n,i,p]*(i + 1), i, p)"], {"x": (4,)},
        {"sizes": {"i": 4, "p": 4}}),
    "time and a remainder of it": (
        ["z[n,j,p,q] = tanh(0.5*z[n,j,p,q-1] + (z[n,(q + 2*p) % 2,j,q-2] + x[n,j]))",
         "l[n] = sum(z[n,j,p,q]*(q + 1), j, p, q)"],
        {"x": (2,)}, {"sizes": {"j": 2, "p": 2, "q": 4}}),
    "a part of a recurrence that is read later": (
        ["z[n,q,j] = tanh(0.5*z[n,q,j-1] + x[n,q])", "c[n,q,j] = tanh(0.5*z[n,q,j-1] + B*c[n,2 - q,j-1])",
         "l[n] = sum(c[n,m+2,i+1]*x[n,i], i, m, k)"], {"x": (3,)},
        {"parameters": {"B": ()}, "sizes": {"q": 3, "j": 4, "i": 3, "m": 1, "k": 2}}),
    "the step of a recurrence that data choose": (
        ["h[n,t,j] = tanh(0.5*h[n,t-1,j] + x[n,j]*(t + 1))", "l[n] = sum(h[n,y[n],j]**2, j)"],
        {"x": (3,), "y": {"shape": (), "classes": 64}}, {"sizes": {"t": 64}}),
    "a sum of ones": (["l[n] = sum(A, j)*sum(x[n,i], i)"], {"x": (3,)}, {"parameters": {"A": ()}, "sizes": {"j": 4}}),
    "a sum of an index": (["l[n] = sum(A*j, j)*sum(x[n,i], i) + sum(j, j)*A"], {"x": (3,)},
                          {"parameters": {"A": ()}, "sizes": {"j": 4}}),
    "two copies of one value": (["a[n] = x[n,0]", "b[n] = x[n,0]", "l[n] = sin(a[n] + 0.3) + sin(b[n] + 0.3) + x[n,0]"],
                                {"x": (1,)}, {}),
    "a subscript that cannot be solved for its index": (
        ["l[n] = sum(x[n,i//2 + i%2]*A[i], i)"], {"x": (3,)}, {"parameters": {"A": ("i",)}, "sizes": {"i": 4}}),
    "a subscript that is solved for an index beside itself": (
        ["l[n] = sum(x[n,2 - i]*u[n,2*q + i - 1,(q + 2*i) % 3], i, q)"], {"x": (3,), "u": (1, 3)},
        {"sizes": {"i": 3, "q": 3}, "outside": {"u": 0.5}}),
    "a condition over lanes in the place of a scatter": (
        ["l[n] = sum(sigmoid(where(k < 4, B[y[n],k], x[n,k % 3])), k)"],
        {"x": (3,), "y": {"shape": (), "classes": 5}}, {"parameters": {"B": ("k", "j")}, "sizes": {"j": 4, "k": 21}}),
    "a row added at an array of places": (
        ["t[m] = sum(A[(q + 2*j) % 4,m % 2], j, q)", "l[n] = sum(x[n,m]*t[m]**2, m)"], {"x": (4,)},
        {"parameters": {"A": ("k", "p")}, "sizes": {"q": 3, "p": 2, "j": 3, "m": 4, "k": 4}}),
}  # fmt: skip
