"""Hand-written programs: what the calculus delivers, in small."""

from __future__ import annotations

from bpcompile.nodes.statements import Program, Tensor
from tests.program.build import Builder


def dense(inputs: int = 5, hidden: int = 4, classes: int = 3) -> Program:
    """Two dense layers, sigmoid and softmax cross-entropy, forward and backward."""
    b = Builder({"n": None, "i": inputs, "j": hidden, "k": classes}, ("y",))
    forward = b.lines("""
        s1[n,j] = sum(W1[j,i]*x[n,i], i)
        z1[n,j] = s1[n,j] + b1[j]
        a1[n,j] = sigmoid(z1[n,j])
        s2[n,k] = sum(W2[k,j]*a1[n,j], j)
        z2[n,k] = s2[n,k] + b2[k]
        m[n] = max(z2[n,k], k)
        e[n,k] = exp(z2[n,k] - m[n])
        s[n] = sum(e[n,k], k)
        l[n] = log(s[n]) + m[n] - z2[n,y[n]]
        loss = sum(l[n]/size(n), n)
    """)
    backward = b.lines("""
        z2_bar[n,k] = (e[n,k]/s[n] - where(y[n] == k, 1, 0))/size(n)
        b2_bar[k] += sum(z2_bar[n,k], n)
        W2_bar[k,j] += z2_bar[n,k]*a1[n,j]
        a1_bar[n,j] += sum(W2[k,j]*z2_bar[n,k], k)
        z1_bar[n,j] += a1_bar[n,j]*a1[n,j]*(1 - sigmoid(z1[n,j]))
        b1_bar[j] += z1_bar[n,j]
        W1_bar[j,i] += z1_bar[n,j]*x[n,i]
        x_bar[n,i] += sum(W1[j,i]*z1_bar[n,j], j)
    """, "backward")
    roles = {
        "x": "input", "y": "target", "W1": "parameter", "b1": "parameter", "W2": "parameter", "b2": "parameter",
        "loss": "loss", "z2": "output", "W1_bar": "gradient:W1", "b1_bar": "gradient:b1", "W2_bar": "gradient:W2",
        "b2_bar": "gradient:b2", "x_bar": "gradient:x",
    }  # fmt: skip
    return b.program(forward + backward, roles, y=Tensor("y", (None,), "target", "int", classes=classes))


def convolution(channels: int = 2, filters: int = 3, rows: int = 4, columns: int = 5) -> Program:
    """A padded 3x3 convolution, relu, pooling by two, and its gradients; guards as ``freeze`` writes them."""
    b = Builder({"n": None, "c": channels, "o": filters, "h": rows, "w": columns, "p": 3, "q": 3, "u": rows // 2,
                 "v": columns // 2, "r": 2, "t": 2})  # fmt: skip
    guard = f"0 <= h + p - 1 and h + p - 1 < {rows} and 0 <= w + q - 1 and w + q - 1 < {columns}"
    back = f"0 <= h - p + 1 and h - p + 1 < {rows} and 0 <= w - q + 1 and w - q + 1 < {columns}"
    steps = b.lines(f"""
        s[n,o,h,w] = sum(K[o,c,p,q]*where({guard}, x[n,c,h+p-1,w+q-1], 0), c, p, q)
        z[n,o,h,w] = s[n,o,h,w] + d[o]
        a[n,o,h,w] = max(z[n,o,h,w], 0.0)
        m[n,o,u,v] = max(a[n,o,2*u+r,2*v+t], r, t)
        f[n,o,u,v] = argmax(a[n,o,2*u+r,2*v+t], r, t)
        loss = sum(m[n,o,u,v]*m[n,o,u,v], n, o, u, v)
    """)
    steps += b.lines(f"""
        m_bar[n,o,u,v] = 2*m[n,o,u,v]
        a_bar[n,o,2*u+r,2*v+t] += where(f[n,o,u,v] == 2*r + t, m_bar[n,o,u,v], 0.0)
        z_bar[n,o,h,w] = where(z[n,o,h,w] > 0, a_bar[n,o,h,w], 0.0)
        d_bar[o] += z_bar[n,o,h,w]
        K_bar[o,c,p,q] += sum(z_bar[n,o,h,w]*where({guard}, x[n,c,h+p-1,w+q-1], 0), n, h, w)
        x_bar[n,c,h,w] += sum(K[o,c,p,q]*where({back}, z_bar[n,o,h-p+1,w-q+1], 0), o, p, q)
    """, "backward")
    roles = {"x": "input", "K": "parameter", "d": "parameter", "loss": "loss", "K_bar": "gradient:K",
             "d_bar": "gradient:d", "x_bar": "gradient:x"}  # fmt: skip
    b.integers = ("f",)
    steps = [b_fix(s) for s in steps]
    return b.program(steps, roles, x=Tensor("x", (None, channels, rows, columns), "input"))


def b_fix(s):  # type: ignore[no-untyped-def]
    """Reads of the recorded position are integers (the builder learns it after the fact)."""
    from dataclasses import replace

    from bpcompile.nodes.expressions import load, rebuild

    return replace(s, body=rebuild(s.body, lambda e: load("f", e.args, "int") if e.op == "load" and e.value[0] == "f"
                                   else None))  # fmt: skip


def recurrent(steps: int = 4, inputs: int = 3, hidden: int = 5) -> Program:
    """A tanh recurrence and backpropagation through time."""
    b = Builder({"n": None, "t": steps, "i": inputs, "j": hidden, "k": hidden})
    forward = [
        *b.lines("g[n,t,j] = sum(W[j,i]*x[n,t,i], i)"),
        b.loop("t", False, """
            r[n,j] = sum(U[j,k]*where(1 <= t, h[n,t-1,k], 0), k)
            h[n,t,j] = tanh(g[n,t,j] + r[n,j] + b[j])
        """),
        *b.lines("loss = sum(h[n,t,j]*h[n,t,j], n, t, j)"),
    ]
    last = steps - 1
    backward = [
        b.loop("t", True, f"""
            q[n,k] = sum(U[j,k]*where(t < {last}, z_bar[n,t+1,j], 0), j)
            z_bar[n,t,j] = (2*h[n,t,j] + q[n,j])*(1 - h[n,t,j]*h[n,t,j])
        """, "backward"),
        *b.lines("""
            U_bar[j,k] += z_bar[n,t,j]*where(1 <= t, h[n,t-1,k], 0)
            W_bar[j,i] += z_bar[n,t,j]*x[n,t,i]
            b_bar[j] += z_bar[n,t,j]
            x_bar[n,t,i] += sum(W[j,i]*z_bar[n,t,j], j)
        """, "backward"),
    ]  # fmt: skip
    roles = {"x": "input", "W": "parameter", "U": "parameter", "b": "parameter", "loss": "loss", "W_bar": "gradient:W",
             "U_bar": "gradient:U", "b_bar": "gradient:b", "x_bar": "gradient:x"}  # fmt: skip
    return b.program(forward + backward, roles)


def attention(time: int = 4, heads: int = 2, size: int = 3) -> Program:
    """Causal attention: scores, masked softmax, values; gradients of queries, keys and values."""
    b = Builder({"n": None, "t": time, "s": time, "h": heads, "d": size})
    forward = b.lines("""
        c[n,h,t,s] = sum(q[n,t,h,d]*k[n,s,h,d], d)
        z[n,h,t,s] = where(s <= t, c[n,h,t,s]/1.7, -inf)
        m[n,h,t] = max(z[n,h,t,s], s)
        e[n,h,t,s] = exp(z[n,h,t,s] - m[n,h,t])
        u[n,h,t] = sum(e[n,h,t,s], s)
        p[n,h,t,s] = e[n,h,t,s]/u[n,h,t]
        o[n,t,h,d] = sum(p[n,h,t,s]*v[n,s,h,d], s)
        loss = sum(o[n,t,h,d]*o[n,t,h,d], n, t, h, d)
    """)
    backward = b.lines("""
        o_bar[n,t,h,d] = 2*o[n,t,h,d]
        p_bar[n,h,t,s] = sum(o_bar[n,t,h,d]*v[n,s,h,d], d)
        v_bar[n,s,h,d] += p[n,h,t,s]*o_bar[n,t,h,d]
        w[n,h,t] = sum(p_bar[n,h,t,s]*p[n,h,t,s], s)
        z_bar[n,h,t,s] = p[n,h,t,s]*(p_bar[n,h,t,s] - w[n,h,t])
        c_bar[n,h,t,s] = where(s <= t, z_bar[n,h,t,s]/1.7, 0.0)
        q_bar[n,t,h,d] += sum(c_bar[n,h,t,s]*k[n,s,h,d], s)
        k_bar[n,s,h,d] += sum(c_bar[n,h,t,s]*q[n,t,h,d], t)
    """, "backward")
    roles = {"q": "input", "k": "input", "v": "input", "loss": "loss", "q_bar": "gradient:q", "k_bar": "gradient:k",
             "v_bar": "gradient:v"}  # fmt: skip
    return b.program(forward + backward, roles)


def embedding(time: int = 3, tokens: int = 6, size: int = 4) -> Program:
    """Rows of a table looked up by integers, a residual path, and the scatter of the gradient."""
    b = Builder({"n": None, "t": time, "d": size, "e": size}, ("token",))
    steps = b.lines("""
        x[n,t,d] = E[token[n,t],d]
        s[n,t,e] = sum(W[e,d]*x[n,t,d], d)
        y[n,t,e] = s[n,t,e] + x[n,t,e]
        loss = sum(y[n,t,e]*y[n,t,e], n, t, e)
    """) + b.lines("""
        y_bar[n,t,e] = 2*y[n,t,e]
        x_bar[n,t,d] = y_bar[n,t,d]
        x_bar[n,t,d] += sum(W[e,d]*y_bar[n,t,e], e)
        W_bar[e,d] += y_bar[n,t,e]*x[n,t,d]
        E_bar[token[n,t],d] += x_bar[n,t,d]
    """, "backward")  # fmt: skip
    roles = {"token": "input", "E": "parameter", "W": "parameter", "loss": "loss", "W_bar": "gradient:W",
             "E_bar": "gradient:E"}  # fmt: skip
    extra = {
        "token": Tensor("token", (None, time), "input", "int", classes=tokens),
        "E": Tensor("E", (tokens, size), "parameter"),
        "E_bar": Tensor("E_bar", (tokens, size), "gradient", of="E"),
    }
    return b.program(steps, roles, **extra)


ALL = {"dense": dense, "convolution": convolution, "recurrent": recurrent, "attention": attention,
       "embedding": embedding}  # fmt: skip
