/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of the control socket, see socket_file.h. Main thread. */
#define _GNU_SOURCE
#include "vmm/base/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/unix_socket.h"

static int explain(int code, const struct control_socket *sock,
		   const char *path, struct err *err)
{
	const char *option = sock->option;

	switch (code) {
	case -EADDRINUSE:
		return err_usage(err, code,
				 "%s '%s': a running VM uses it; stop that VM "
				 "%s%s%s or give another path",
				 option, path,
				 sock->control ? "('torpor stop " : "",
				 sock->control ? path : "",
				 sock->control ? "')" : "first");
	case -EEXIST:
		return err_usage(
			err, code,
			"%s '%s': exists and is not a socket; give another "
			"path or remove it",
			option, path);
	case -EBUSY:
		return err_usage(
			err, code,
			"%s '%s': another program locks its directory; "
			"try again or use another directory",
			option, path);
	case -ENAMETOOLONG:
		return err_usage(
			err, code,
			"%s '%s': longer than %d bytes; give a shorter "
			"path",
			option, path, CONTROL_SOCKET_PATH_MAX);
	case -ENOENT:
	case -ENOTDIR:
		return err_usage(
			err, code,
			"%s '%s': its directory does not exist; create "
			"it first",
			option, path);
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return err_usage_errno(
			err, code,
			"%s '%s': use a directory that you may write to",
			option, path);
	default:
		return err_usage_errno(err, code, "%s '%s'", option, path);
	}
}

/* Opens the directory of @path and notes the name in it. */
static int open_dir(struct control_socket *sock, const char *path)
{
	char copy[CONTROL_SOCKET_PATH_MAX + 1];
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EISDIR;
	(void)snprintf(copy, sizeof(copy), "%s", path);
	(void)snprintf(sock->name, sizeof(sock->name), "%s", name);
	sock->dir_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return sock->dir_fd < 0 ? -errno : 0;
}

/* Listens under a temporary name of the directory, which is returned. */
static int listen_hidden(struct control_socket *sock, char *tmp, size_t size)
{
	struct sockaddr_un sa;
	struct stat st;
	int r;

	(void)snprintf(tmp, size, ".%.40s.%d", sock->name, (int)getpid());
	r = unix_address(&sa, "/proc/self/fd/%d/%s", sock->dir_fd, tmp);
	if (r < 0)
		return r;
	sock->fd =
		socket(AF_UNIX, sock->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock->fd < 0)
		return -errno;
	/* The file takes its mode from the socket, before any umask. */
	if (fchmod(sock->fd, 0600) < 0)
		return -errno;
	r = bind(sock->fd, (const struct sockaddr *)&sa, sizeof(sa));
	if (r < 0 && errno == EADDRINUSE) {
		/* Left by a process of the same number, long gone. */
		(void)unlinkat(sock->dir_fd, tmp, 0);
		r = bind(sock->fd, (const struct sockaddr *)&sa, sizeof(sa));
	}
	if (r < 0)
		return -errno;
	if (listen(sock->fd, SOMAXCONN) < 0 ||
	    fstatat(sock->dir_fd, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		r = -errno;
		(void)unlinkat(sock->dir_fd, tmp, 0);
		return r;
	}
	sock->dev = st.st_dev;
	sock->ino = st.st_ino;
	return 0;
}

static int link_name(const struct control_socket *sock, const char *tmp)
{
	if (linkat(sock->dir_fd, tmp, sock->dir_fd, sock->name, 0) < 0)
		return -errno;
	return 0;
}

/* The name is taken: by a live VM, or may we have it? */
static int take_over(const struct control_socket *sock, const char *path,
		     const char *tmp)
{
	_cleanup_fd_ int lock = -1;
	int r;

	lock = openat(sock->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return -errno;
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	r = unix_probe(path);
	if (r == 1)
		return -EADDRINUSE;
	if (r == 0 && unlinkat(sock->dir_fd, sock->name, 0) < 0 &&
	    errno != ENOENT)
		return -errno;
	if (r < 0 && r != -ENOENT)
		return r;
	r = link_name(sock, tmp);
	/* Somebody who found the name free was faster. */
	return r == -EEXIST ? -EADDRINUSE : r;
}

static int socket_open(struct control_socket *sock, const char *path,
		       struct err *err)
{
	char tmp[64] = "";
	int r;

	sock->fd = sock->dir_fd = -1;
	if (strlen(path) > CONTROL_SOCKET_PATH_MAX)
		return explain(-ENAMETOOLONG, sock, path, err);
	r = open_dir(sock, path);
	if (r < 0)
		goto out;
	r = listen_hidden(sock, tmp, sizeof(tmp));
	if (r < 0)
		goto out;
	r = link_name(sock, tmp);
	if (r == -EEXIST)
		r = take_over(sock, path, tmp);
	(void)unlinkat(sock->dir_fd, tmp, 0);
out:
	if (r == 0)
		return 0;
	fd_close(&sock->fd);
	fd_close(&sock->dir_fd);
	return explain(r, sock, path, err);
}

int control_socket_open(struct control_socket *sock, const char *path,
			struct err *err)
{
	*sock = (struct control_socket){ .type = SOCK_STREAM,
					 .option = "--socket",
					 .control = true };
	return socket_open(sock, path, err);
}

int control_socket_open_other(struct control_socket *sock, const char *path,
			      int type, const char *option, struct err *err)
{
	*sock = (struct control_socket){ .type = type, .option = option };
	return socket_open(sock, path, err);
}

void control_socket_close(struct control_socket *sock)
{
	struct stat st;

	if (sock->fd < 0)
		return;
	/*
	 * The file goes first: while we listen nobody takes it for stale, so
	 * what has our inode number now still has it at the unlink.
	 */
	if (fstatat(sock->dir_fd, sock->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == sock->dev && st.st_ino == sock->ino)
		(void)unlinkat(sock->dir_fd, sock->name, 0);
	fd_close(&sock->fd);
	fd_close(&sock->dir_fd);
}
