using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Broker.Storage;

/// <summary>
/// What the class library has no call for: fdatasync, fallocate, the flush of a folder, a gathered write without
/// garbage.
/// </summary>
internal static partial class SystemCalls
{
    private const int Interrupted = 4;              // EINTR
    private const int NoSpace = 28;                 // ENOSPC
    private const int QuotaExceededLinux = 122;     // EDQUOT
    private const int WouldBlockLinux = 11;         // EWOULDBLOCK
    private const int WouldBlockMac = 35;
    private const int NoSuchCall = 38;              // ENOSYS
    private const int NotSupported = 95;            // EOPNOTSUPP
    private const int WindowsDiskFull = unchecked((int)0x80070070);
    private const int WindowsSharingViolation = unchecked((int)0x80070020);
    private const int ReadOnly = 0;                 // O_RDONLY

    /// <summary>On Unix the runtime keeps errno in HResult where it has no exception type of its own.</summary>
    public static bool IsDiskFull(IOException failure) =>
        failure.HResult is NoSpace or QuotaExceededLinux or WindowsDiskFull;

    public static bool IsSharingViolation(IOException failure) =>
        failure.HResult is WouldBlockLinux or WouldBlockMac or WindowsSharingViolation;

    public static DiskFullException DiskFull(string path, Exception? inner) =>
        new($"There is no space left for {path}. Free some, or enlarge the disk.", inner);

    public static void SyncData(SafeFileHandle handle, string path)
    {
        while (FDataSync(handle) != 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
            {
                throw Failure("fdatasync", path, error);
            }
        }
    }

    /// <summary>Reserves space that reads as zero; false where the file system cannot.</summary>
    public static bool TryAllocate(SafeFileHandle handle, string path, long offset, long lengthBytes)
    {
        while (FAllocate(handle, 0, offset, lengthBytes - offset) != 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error is NotSupported or NoSuchCall)
            {
                return false;
            }

            if (error is NoSpace or QuotaExceededLinux)
            {
                throw DiskFull(path, new Win32Exception(error));
            }

            if (error != Interrupted)
            {
                throw Failure("fallocate", path, error);
            }
        }

        return true;
    }

    /// <summary>Writes the buffers one after another; returns the bytes written, which may be fewer.</summary>
    public static unsafe long WriteGathered(
        SafeFileHandle handle, string path, ReadOnlySpan<IoVector> vectors, long offset)
    {
        fixed (IoVector* first = vectors)
        {
            while (true)
            {
                var written = PWriteV(handle, first, vectors.Length, offset);
                if (written >= 0)
                {
                    return written;
                }

                var error = Marshal.GetLastPInvokeError();
                if (error is NoSpace or QuotaExceededLinux)
                {
                    throw DiskFull(path, new Win32Exception(error));
                }

                if (error != Interrupted)
                {
                    throw Failure("pwritev", path, error);
                }
            }
        }
    }

    public static void SyncFolder(string folder)
    {
        var descriptor = Open(folder, ReadOnly);
        if (descriptor < 0)
        {
            throw Failure("open", folder, Marshal.GetLastPInvokeError());
        }

        using var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        while (FSync(handle) != 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
            {
                throw Failure("fsync", folder, error);
            }
        }
    }

    private static IOException Failure(string call, string path, int error)
    {
        var inner = new Win32Exception(error);
        return new IOException($"{call} of {path} failed: {inner.Message} (errno {error}).", inner);
    }

    [LibraryImport("libc", EntryPoint = "pwritev", SetLastError = true)]
    private static unsafe partial nint PWriteV(SafeFileHandle file, IoVector* vectors, int count, long offset);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FDataSync(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int FAllocate(SafeFileHandle handle, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
