using Broker.Domain;

namespace Broker.Storage;

/// <summary>
/// How a file beside the segments comes and is opened. It is written as a whole and never changed, and the group can do
/// without it: what cannot be read is as good as not there.
/// </summary>
internal static class SideFile
{
    /// <summary>
    /// Writes a whole file so that after a crash at any moment either what had the name before or the new file has it,
    /// never a part: a temporary name, a flush, a rename, a flush of the folder.
    /// </summary>
    /// <param name="device">The disk.</param>
    /// <param name="folder">The file's folder.</param>
    /// <param name="name">The file's name in it.</param>
    /// <param name="content">What <paramref name="write"/> puts into the new, empty file.</param>
    /// <param name="write">Writes the content.</param>
    /// <param name="gate">Held while the name changes hands.</param>
    /// <param name="renamed">Runs under the gate as soon as it has.</param>
    /// <param name="logger">Told of a temporary file that could not be removed.</param>
    /// <exception cref="DiskFullException">No space; the file of this name is as before.</exception>
    /// <exception cref="StorageException">A write, flush or rename failed.</exception>
    public static void Replace<TContent>(
        IStorageDevice device,
        string folder,
        string name,
        TContent content,
        Action<IStorageFile, TContent> write,
        Lock gate,
        Action renamed,
        ILogger logger)
        where TContent : allows ref struct
    {
        var path = Path.Combine(folder, name);
        var temporary = path + GroupFolder.TemporarySuffix;
        try
        {
            if (device.Exists(temporary))
            {
                // It may be longer than the new one.
                device.Delete(temporary);
            }

            using (var file = device.Open(temporary, create: true))
            {
                write(file, content);
                file.Sync();
            }

            lock (gate)
            {
                device.Rename(temporary, path);
                renamed();
            }

            device.SyncFolder(folder);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            Discard(device, temporary, logger);
            if (failure is DiskFullException)
            {
                throw;
            }

            throw new StorageException($"{path} cannot be written: {failure.Message}", failure);
        }
    }

    /// <summary>Null when there is no such file, or when it cannot be opened, which is logged.</summary>
    public static IStorageFile? TryOpen(IStorageDevice device, string path, GroupId group, ILogger logger)
    {
        try
        {
            return device.Exists(path) ? device.Open(path, create: false) : null;
        }
        catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
        {
            // Deleted since the question.
            return null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // No verdict about the file: too many open files, or no permission.
            StorageEvents.SideFileNotOpened(logger, failure, group, path);
            return null;
        }
    }

    /// <summary>Checks pages whose content nobody wants; null when all is well.</summary>
    public static FileDamage? Verify(IStorageFile file, uint seed, long page, long count)
    {
        try
        {
            return CheckedPages.Verify(file, seed, page, count) is { } offset ? FileDamage.OfPage(offset) : null;
        }
        catch (IOException failure)
        {
            return FileDamage.Unreadable(failure);
        }
    }

    private static void Discard(IStorageDevice device, string temporary, ILogger logger)
    {
        try
        {
            if (device.Exists(temporary))
            {
                device.Delete(temporary);
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // The next start, or the next write of the same file, deletes it.
            StorageEvents.TemporaryNotDeleted(logger, failure, temporary);
        }
    }
}

/// <summary>What is wrong with a file that can be done without, or made anew.</summary>
/// <param name="Offset">Where the damage begins.</param>
/// <param name="Expected">What should have been there.</param>
/// <param name="Cause">The error of the disk, when it could not read it.</param>
internal readonly record struct FileDamage(long Offset, string Expected, Exception? Cause = null)
{
    public static FileDamage OfPage(long offset) => new(offset, "a page with a matching checksum");

    public static FileDamage Unreadable(Exception cause) => new(0, "bytes that can be read", cause);
}
