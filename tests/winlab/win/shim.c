/* shim.exe, installed as schtasks.exe, netsh.exe, ...: asks services.py (127.0.0.1, port in Z:\run\stand-in\port) what to do.
   Frames both ways: type, length (u32, little endian), data.
     to services.py    H UTF-16, NUL between: program name, raw command line, current directory, environment...   I stdin (empty = EOF)   R u32 exit code
     from services.py  O/E bytes for stdout/stderr   X u32 exit code, end   I send all of stdin   V UTF-16 NAME=value, set it here
                   R/Q UTF-16 command line: run it here, in this session, job and environment (Q: without output), answer R */
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
static SOCKET s;
static void die(const char *why) { fprintf(stderr, "stand-in: %s\n", why); ExitProcess(250); }
static void sendall(const void *d, size_t n) { const char *p = d; while (n) { int k = send(s, p, (int)n, 0); if (k <= 0) die("services.py went away"); p += k; n -= k; } }
static void frame(char t, const void *d, DWORD n) { char h[5]; h[0] = t; memcpy(h + 1, &n, 4); sendall(h, 5); if (n) sendall(d, n); }
static void recvall(void *d, size_t n) { char *p = d; while (n) { int k = recv(s, p, (int)n, 0); if (k <= 0) die("services.py does not answer"); p += k; n -= k; } }
static void out(DWORD which, const char *d, DWORD n) { HANDLE h = GetStdHandle(which); DWORD k; while (n) { if (!WriteFile(h, d, n, &k, NULL)) return; d += k; n -= k; } }
static DWORD run(wchar_t *line, int quiet) {
    STARTUPINFOW si; PROCESS_INFORMATION pi; DWORD rc = 9009; memset(&si, 0, sizeof si); si.cb = sizeof si;
    SECURITY_ATTRIBUTES sa = { sizeof sa, NULL, TRUE }; si.dwFlags = STARTF_USESTDHANDLES;
    HANDLE nul = quiet ? CreateFileW(L"NUL", GENERIC_READ | GENERIC_WRITE, 3, &sa, OPEN_EXISTING, 0, NULL) : NULL;
    si.hStdInput = quiet ? nul : GetStdHandle(STD_INPUT_HANDLE); si.hStdOutput = quiet ? nul : GetStdHandle(STD_OUTPUT_HANDLE);
    si.hStdError = quiet ? nul : GetStdHandle(STD_ERROR_HANDLE);
    if (CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &si, &pi)) { WaitForSingleObject(pi.hProcess, INFINITE); GetExitCodeProcess(pi.hProcess, &rc); }
    if (nul) CloseHandle(nul);
    return rc;
}
int wmain(void) {
    static wchar_t me[1024], cwd[4096]; WSADATA w; WSAStartup(0x202, &w);
    GetModuleFileNameW(NULL, me, 1024); GetCurrentDirectoryW(4096, cwd);
    int port = 0; FILE *f = _wfopen(L"Z:\\run\\stand-in\\port", L"rb"); if (f) { fscanf(f, "%d", &port); fclose(f); }
    struct sockaddr_in a; memset(&a, 0, sizeof a); a.sin_family = AF_INET; a.sin_port = htons(port); a.sin_addr.s_addr = htonl(0x7f000001);
    s = socket(AF_INET, SOCK_STREAM, 0); if (!port || connect(s, (void *)&a, sizeof a)) die("services.py is not there");
    wchar_t *b = wcsrchr(me, '\\'); b = b ? b + 1 : me; wchar_t *dot = wcsrchr(b, '.'); if (dot) *dot = 0;
    wchar_t *e = GetEnvironmentStringsW(), *q; for (q = e; *q; q += wcslen(q) + 1);
    wchar_t *line = GetCommandLineW(); size_t n = wcslen(b) + wcslen(line) + wcslen(cwd) + 3 + (q - e);
    wchar_t *h = calloc(n + 1, sizeof *h), *p = h;
    wcscpy(p, b); p += wcslen(p) + 1; wcscpy(p, line); p += wcslen(p) + 1; wcscpy(p, cwd); p += wcslen(p) + 1; memcpy(p, e, (q - e) * sizeof *p); p += q - e;
    frame('H', h, (DWORD)((p - h) * sizeof *h));
    for (;;) {
        char t; DWORD len; recvall(&t, 1); recvall(&len, 4); char *d = calloc(len + 4, 1); if (len) recvall(d, len);
        switch (t) {
        case 'O': out(STD_OUTPUT_HANDLE, d, len); break;
        case 'E': out(STD_ERROR_HANDLE, d, len); break;
        case 'X': ExitProcess(*(DWORD *)d);
        case 'V': { wchar_t *v = (wchar_t *)d, *eq = wcschr(v, '='); if (eq) { *eq = 0; SetEnvironmentVariableW(v, eq[1] ? eq + 1 : NULL); } break; }
        case 'R': case 'Q': { DWORD rc = run((wchar_t *)d, t == 'Q'); frame('R', &rc, 4); break; }
        case 'I': { static char buf[65536]; DWORD k; HANDLE in = GetStdHandle(STD_INPUT_HANDLE);
                    while (ReadFile(in, buf, sizeof buf, &k, NULL) && k) frame('I', buf, k); frame('I', NULL, 0); break; }
        }
        free(d);
    }
}
