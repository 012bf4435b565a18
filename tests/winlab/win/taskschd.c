/* taskschd.dll, in place of Wine's, which scripts can't use: Schedule.Service as an IDispatch. Its methods are in host/comtasks.py;
   this asks services.py (127.0.0.1, port in Z:\run\stand-in\port) in frames as in shim.c: H with the name "com", then C and A in turn.
     C UTF-16, NUL between: "new"  |  "name", object, name  |  "do", object, number of the name, arguments in their order
     A UTF-16, NUL between: HRESULT, result  |  HRESULT, what is wrong
   An argument or result is a letter and a text: n nothing, i number, b 0 or 1, s text, o object. */
#define COBJMACROS
#include <winsock2.h>
#include <windows.h>
#include <oleauto.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct { IDispatch base; LONG references; int number; } Object;
static SOCKET s = INVALID_SOCKET;
static wchar_t asked[1 << 18], answer[1 << 16];
static BOOL sendall(const void *d, size_t n) { const char *p = d; while (n) { int k = send(s, p, (int)n, 0); if (k <= 0) return FALSE; p += k; n -= k; } return TRUE; }
static BOOL recvall(void *d, size_t n) { char *p = d; while (n) { int k = recv(s, p, (int)n, 0); if (k <= 0) return FALSE; p += k; n -= k; } return TRUE; }
static BOOL frame(char t, const void *d, DWORD n) { return sendall(&t, 1) && sendall(&n, 4) && sendall(d, n); }
static BOOL reach(void) {
    WSADATA w; int port = 0; struct sockaddr_in a; static const wchar_t hello[] = L"com\0\0C:\\\0";
    if (s != INVALID_SOCKET) return TRUE;
    WSAStartup(0x202, &w); memset(&a, 0, sizeof a);
    FILE *f = _wfopen(L"Z:\\run\\stand-in\\port", L"rb"); if (f) { fscanf(f, "%d", &port); fclose(f); }
    a.sin_family = AF_INET; a.sin_port = htons(port); a.sin_addr.s_addr = htonl(0x7f000001); s = socket(AF_INET, SOCK_STREAM, 0);
    return port && !connect(s, (void *)&a, sizeof a) && frame('H', hello, sizeof hello - sizeof *hello);
}
/* Sends what is in `asked` (until `end`), which leaves the answer's second field in `answer`. */
static HRESULT ask(wchar_t *end) {
    char t; DWORD n; wchar_t code[16]; static wchar_t got[1 << 16];
    if (!reach() || !frame('C', asked, (DWORD)((end - asked) * sizeof *end)) || !recvall(&t, 1) || !recvall(&n, 4)) return RPC_E_SERVER_DIED;
    if (n >= sizeof got - 2 * sizeof *got || !recvall(got, n)) return RPC_E_SERVER_DIED;
    got[n / sizeof *got] = got[n / sizeof *got + 1] = 0;
    wcsncpy(code, got, 15); code[15] = 0; wcscpy(answer, got + wcslen(got) + 1);
    return (HRESULT)_wcstoui64(code, NULL, 10);
}
static wchar_t *add(wchar_t *p, const wchar_t *text) { if (p != asked) *p++ = 0; wcscpy(p, text); return p + wcslen(p); }
static wchar_t *number(wchar_t *p, int value) { wchar_t text[16]; swprintf(text, 16, L"%d", value); return add(p, text); }
static IDispatch *made(int number);

static HRESULT WINAPI query(IDispatch *me, REFIID id, void **out) {
    *out = IsEqualGUID(id, &IID_IUnknown) || IsEqualGUID(id, &IID_IDispatch) ? me : NULL;
    if (*out) IDispatch_AddRef(me);
    return *out ? S_OK : E_NOINTERFACE;
}
static ULONG WINAPI add_ref(IDispatch *me) { return InterlockedIncrement(&((Object *)me)->references); }
static ULONG WINAPI release(IDispatch *me) { LONG left = InterlockedDecrement(&((Object *)me)->references); if (!left) free(me); return left; }
static HRESULT WINAPI no_count(IDispatch *me, UINT *count) { *count = 0; return S_OK; }
static HRESULT WINAPI no_types(IDispatch *me, UINT which, LCID language, ITypeInfo **out) { *out = NULL; return DISP_E_BADINDEX; }
static HRESULT WINAPI names(IDispatch *me, REFIID id, LPOLESTR *name, UINT count, LCID language, DISPID *out) {
    HRESULT code = ask(add(number(add(asked, L"name"), ((Object *)me)->number), name[0]));
    *out = SUCCEEDED(code) ? _wtoi(answer + 1) : DISPID_UNKNOWN;
    return code;
}
static wchar_t *argument(wchar_t *p, VARIANT *v) {
    wchar_t text[32];
    switch (V_VT(v)) {
    case VT_EMPTY: case VT_NULL: return add(p, L"n");
    case VT_I4: swprintf(text, 32, L"i%d", V_I4(v)); return add(p, text);
    case VT_BOOL: return add(p, V_BOOL(v) ? L"b1" : L"b0");
    case VT_DISPATCH: swprintf(text, 32, L"o%d", ((Object *)V_DISPATCH(v))->number); return add(p, text);
    case VT_BSTR: if (SysStringLen(V_BSTR(v)) > (1 << 16)) return NULL; p = add(p, L"s"); wcscpy(p, V_BSTR(v) ? V_BSTR(v) : L""); return p + wcslen(p);
    }
    return NULL;
}
static HRESULT WINAPI invoke(IDispatch *me, DISPID what, REFIID id, LCID language, WORD kind, DISPPARAMS *given, VARIANT *out, EXCEPINFO *trouble, UINT *wrong) {
    wchar_t *p = number(number(add(asked, L"do"), ((Object *)me)->number), what);
    if (given->cArgs > 3 + 4) return DISP_E_BADPARAMCOUNT;
    for (int i = given->cArgs - 1; i >= 0; i--) if (!(p = argument(p, &given->rgvarg[i]))) return DISP_E_TYPEMISMATCH;
    HRESULT code = ask(p);
    if (FAILED(code)) {
        if (!trouble) return code;
        memset(trouble, 0, sizeof *trouble); trouble->scode = code; trouble->bstrDescription = *answer ? SysAllocString(answer) : NULL;
        return DISP_E_EXCEPTION;
    }
    if (!out) return S_OK;
    VariantInit(out);
    switch (*answer) {
    case 'i': V_VT(out) = VT_I4; V_I4(out) = _wtoi(answer + 1); break;
    case 'b': V_VT(out) = VT_BOOL; V_BOOL(out) = answer[1] == '1' ? VARIANT_TRUE : VARIANT_FALSE; break;
    case 's': V_VT(out) = VT_BSTR; V_BSTR(out) = SysAllocString(answer + 1); break;
    case 'o': V_VT(out) = VT_DISPATCH; V_DISPATCH(out) = made(_wtoi(answer + 1)); break;
    }
    return S_OK;
}
static IDispatchVtbl table = { query, add_ref, release, no_count, no_types, names, invoke };
static IDispatch *made(int number) { Object *o = calloc(1, sizeof *o); o->base.lpVtbl = &table; o->references = 1; o->number = number; return &o->base; }

static HRESULT WINAPI factory_query(IClassFactory *me, REFIID id, void **out) {
    *out = IsEqualGUID(id, &IID_IUnknown) || IsEqualGUID(id, &IID_IClassFactory) ? me : NULL;
    return *out ? S_OK : E_NOINTERFACE;
}
static ULONG WINAPI factory_count(IClassFactory *me) { return 2; }
static HRESULT WINAPI create(IClassFactory *me, IUnknown *outer, REFIID id, void **out) {
    HRESULT code = ask(add(asked, L"new"));
    *out = NULL;
    if (FAILED(code)) return code;
    IDispatch *object = made(_wtoi(answer + 1));
    code = IDispatch_QueryInterface(object, id, out);
    IDispatch_Release(object);
    return code;
}
static HRESULT WINAPI lock_server(IClassFactory *me, BOOL lock) { return S_OK; }
static IClassFactoryVtbl factory_table = { factory_query, factory_count, factory_count, create, lock_server };
static IClassFactory factory = { &factory_table };
HRESULT WINAPI DllGetClassObject(REFCLSID class, REFIID id, void **out) { return factory_query(&factory, id, out); }
HRESULT WINAPI DllCanUnloadNow(void) { return S_FALSE; }
