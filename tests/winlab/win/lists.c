/* Access lists for python.exe: Wine keeps of them only what fits into Linux's permission bits, so services.py keeps them
   (host/lists.py), and here the few functions that set and tell them are turned over to it: Get/SetNamedSecurityInfoW,
   and CreateDirectoryW and CreateFileW when they are given a security descriptor. Frames as in shim.c. */
#include <winsock2.h>
#include <windows.h>
#include <accctrl.h>
#include <sddl.h>
#include <stdio.h>
#include <stdlib.h>
static int whole(SOCKET s, char *p, int n, int out) {
    while (n) { int k = out ? send(s, p, n, 0) : recv(s, p, n, 0); if (k <= 0) return 0; p += k; n -= k; }
    return 1;
}
/* Asks with some fields and returns an error code; the answer, if wanted, is freed with free. */
static DWORD ask(const wchar_t **fields, int count, wchar_t **answer) {
    WSADATA w; int port = 0, n = 0; DWORD code = 1722; /* RPC_S_SERVER_UNAVAILABLE */
    FILE *f = _wfopen(L"Z:\\run\\stand-in\\port", L"rb"); if (f) { fscanf(f, "%d", &port); fclose(f); }
    struct sockaddr_in a; memset(&a, 0, sizeof a); a.sin_family = AF_INET; a.sin_port = htons(port); a.sin_addr.s_addr = htonl(0x7f000001);
    WSAStartup(0x202, &w);
    SOCKET s = socket(AF_INET, SOCK_STREAM, 0);
    if (!port || connect(s, (void *)&a, sizeof a)) { closesocket(s); return code; }
    for (int i = 0; i < count; i++) n += (int)(wcslen(fields[i]) + 1) * 2;
    char *h = malloc(5 + n), *p = h + 5; n -= 2; h[0] = 'H'; memcpy(h + 1, &n, 4); /* no NUL behind the last field */
    for (int i = 0; i < count; i++) { int k = (int)(wcslen(fields[i]) + 1) * 2; memcpy(p, fields[i], k); p += k; }
    int good = whole(s, h, 5 + n, 1); free(h);
    while (good) {
        char t; int len; if (!whole(s, &t, 1, 0) || !whole(s, (char *)&len, 4, 0)) break;
        char *d = calloc(len + 2, 1); if (!whole(s, d, len, 0)) { free(d); break; }
        if (t == 'O' && answer) { *answer = calloc(len + 1, 2); MultiByteToWideChar(CP_UTF8, 0, d, len, *answer, len); }
        if (t == 'X') { code = *(DWORD *)d; free(d); break; }
        free(d);
    }
    closesocket(s);
    return code;
}
static const wchar_t *full(const wchar_t *path, wchar_t *room) { return GetFullPathNameW(path, 4096, room, NULL) ? room : path; }
static DWORD tell(const wchar_t *path, DWORD part, void *descriptor) {
    wchar_t *text = NULL, room[4096], number[16]; _snwprintf(number, 16, L"%u", part);
    if (!ConvertSecurityDescriptorToStringSecurityDescriptorW(descriptor, 1, part & 5, &text, NULL)) return GetLastError();
    const wchar_t *fields[] = { L"lists", L"set", full(path, room), number, text };
    DWORD code = ask(fields, 5, NULL); LocalFree(text);
    return code;
}
static DWORD WINAPI get_info(wchar_t *path, int type, DWORD part, void **owner, void **group, ACL **dacl, ACL **sacl, void **all) {
    wchar_t *text = NULL, room[4096]; void *sd = NULL; BOOL b;
    if (type != 1) return 50;
    const wchar_t *fields[] = { L"lists", L"get", full(path, room) };
    DWORD code = ask(fields, 3, &text); if (code) return code;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(text, 1, &sd, NULL)) return GetLastError();
    free(text);
    if (owner) GetSecurityDescriptorOwner(sd, owner, &b);
    if (dacl) { *dacl = NULL; GetSecurityDescriptorDacl(sd, &b, dacl, &b); }
    if (all) *all = sd;
    return 0;
}
static DWORD WINAPI set_info(wchar_t *path, int type, DWORD part, void *owner, void *group, ACL *dacl, ACL *sacl) {
    SECURITY_DESCRIPTOR sd; InitializeSecurityDescriptor(&sd, 1);
    if (type != 1) return 50;
    if (part & 1) SetSecurityDescriptorOwner(&sd, owner, FALSE);
    if (part & 4) SetSecurityDescriptorDacl(&sd, TRUE, dacl, FALSE);
    return tell(path, part, &sd);
}
static DWORD described(const wchar_t *path, SECURITY_ATTRIBUTES *sa) {
    SECURITY_DESCRIPTOR_CONTROL control; DWORD revision; void *owner = NULL; BOOL b;
    GetSecurityDescriptorControl(sa->lpSecurityDescriptor, &control, &revision);
    GetSecurityDescriptorOwner(sa->lpSecurityDescriptor, &owner, &b);
    DWORD part = (owner ? 1 : 0) | (control & SE_DACL_PRESENT ? 4 : 0) | (control & SE_DACL_PROTECTED ? 0x80000000 : 0);
    return tell(path, part, sa->lpSecurityDescriptor);
}
static BOOL (WINAPI *real_folder)(const wchar_t *, SECURITY_ATTRIBUTES *);
static HANDLE (WINAPI *real_file)(const wchar_t *, DWORD, DWORD, SECURITY_ATTRIBUTES *, DWORD, DWORD, HANDLE);
static BOOL WINAPI make_folder(const wchar_t *path, SECURITY_ATTRIBUTES *sa) {
    if (!real_folder(path, NULL)) return FALSE;
    DWORD code = sa && sa->lpSecurityDescriptor ? described(path, sa) : 0;
    if (code) { RemoveDirectoryW(path); SetLastError(code); }
    return !code;
}
static HANDLE WINAPI make_file(const wchar_t *path, DWORD access, DWORD share, SECURITY_ATTRIBUTES *sa, DWORD how, DWORD flags, HANDLE like) {
    int listed = sa && sa->lpSecurityDescriptor && how == CREATE_NEW;
    HANDLE made = real_file(path, access, share, listed ? NULL : sa, how, flags, like);
    DWORD last = GetLastError();
    if (made != INVALID_HANDLE_VALUE && listed && (last = described(path, sa))) { CloseHandle(made); DeleteFileW(path); made = INVALID_HANDLE_VALUE; }
    SetLastError(last);
    return made;
}
/* Has a function begin with: mov rax, ours; jmp rax. Those of kernel32 only jump to kernelbase's, which stay. */
static void turn(const wchar_t *library, const char *name, void *ours) {
    unsigned char *at = (void *)GetProcAddress(LoadLibraryW(library), name); DWORD old;
    if (!at || !VirtualProtect(at, 12, PAGE_EXECUTE_READWRITE, &old)) return;
    at[0] = 0x48; at[1] = 0xb8; memcpy(at + 2, &ours, 8); at[10] = 0xff; at[11] = 0xe0;
    VirtualProtect(at, 12, old, &old);
}
static void keep_lists(void) {
    HMODULE base = GetModuleHandleW(L"kernelbase");
    real_folder = (void *)GetProcAddress(base, "CreateDirectoryW");
    real_file = (void *)GetProcAddress(base, "CreateFileW");
    turn(L"advapi32", "GetNamedSecurityInfoW", get_info);
    turn(L"advapi32", "SetNamedSecurityInfoW", set_info);
    turn(L"kernel32", "CreateDirectoryW", make_folder);
    turn(L"kernel32", "CreateFileW", make_file);
}
