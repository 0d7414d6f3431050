namespace Broker.Storage;

/// <summary>The machine's own file system. On Linux flushes are fdatasync, and folders are flushed too.</summary>
public sealed class PhysicalDevice : IStorageDevice
{
    public void CreateFolder(string path)
    {
        var missing = new Stack<string>();
        var full = Path.GetFullPath(path);
        for (var folder = full; folder is not null && !Directory.Exists(folder); folder = Path.GetDirectoryName(folder))
        {
            missing.Push(folder);
        }

        while (missing.TryPop(out var folder))
        {
            Translate(folder, static target => Directory.CreateDirectory(target));
            SyncFolder(Path.GetDirectoryName(folder) ?? folder);
        }
    }

    public bool Exists(string path) => File.Exists(path);

    public IReadOnlyList<string> List(string folder)
    {
        var names = Directory.GetFiles(folder);
        for (var i = 0; i < names.Length; i++)
        {
            names[i] = Path.GetFileName(names[i]);
        }

        Array.Sort(names, StringComparer.Ordinal);
        return names;
    }

    public long Length(string path) => new FileInfo(path).Length;

    public long FreeBytes(string folder) => new DriveInfo(folder).AvailableFreeSpace;

    public IStorageFile Open(string path, bool create)
    {
        try
        {
            var mode = create ? FileMode.OpenOrCreate : FileMode.Open;
            var handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            return new PhysicalFile(path, handle);
        }
        catch (IOException failure) when (SystemCalls.IsDiskFull(failure))
        {
            throw SystemCalls.DiskFull(path, failure);
        }
    }

    public void Delete(string path) => File.Delete(path);

    public void Rename(string from, string to) =>
        Translate((from, to), static paths => File.Move(paths.from, paths.to, overwrite: true));

    public void SyncFolder(string folder)
    {
        // Windows has no flush of folders: NTFS journals its names by itself.
        if (!OperatingSystem.IsWindows())
        {
            SystemCalls.SyncFolder(folder);
        }
    }

    public IDisposable? TryLock(string path)
    {
        try
        {
            // FileShare.None is flock(LOCK_EX) on Unix: the kernel drops it with the process, however that ends.
            return File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException failure) when (SystemCalls.IsSharingViolation(failure))
        {
            return null;
        }
    }

    private static void Translate<T>(T argument, Action<T> operation)
    {
        try
        {
            operation(argument);
        }
        catch (IOException failure) when (SystemCalls.IsDiskFull(failure))
        {
            throw SystemCalls.DiskFull(argument?.ToString() ?? string.Empty, failure);
        }
    }
}
