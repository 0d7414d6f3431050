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
    /// <param name="folder">The file's folder; its logger hears of a temporary file that could not be removed.</param>
    /// <param name="name">The file's name in it.</param>
    /// <param name="content">What <paramref name="write"/> puts into the new, empty file.</param>
    /// <param name="write">Writes the content.</param>
    /// <param name="gate">Held while the name changes hands.</param>
    /// <param name="renamed">Runs under the gate as soon as it has.</param>
    /// <exception cref="DiskFullException">No space; the file of this name is as before.</exception>
    /// <exception cref="StorageException">A write, flush or rename failed.</exception>
    public static void Replace<TContent>(
        GroupFolder folder,
        string name,
        TContent content,
        Action<IStorageFile, TContent> write,
        Lock gate,
        Action renamed)
        where TContent : allows ref struct
    {
        var path = folder.PathOf(name);
        var temporary = path + GroupFolder.TemporarySuffix;
        try
        {
            // It may be longer than the new one.
            folder.DeleteIfThere(temporary);
            using (var file = folder.Device.Open(temporary, create: true))
            {
                write(file, content);
                file.Sync();
            }

            lock (gate)
            {
                folder.Device.Rename(temporary, path);
                renamed();
            }

            folder.Sync();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            Discard(folder, temporary);
            if (failure is DiskFullException)
            {
                throw;
            }

            throw new StorageException($"{path} cannot be written: {failure.Message}", failure);
        }
    }

    /// <summary>Null when there is no such file, or when it cannot be opened, which is logged.</summary>
    public static IStorageFile? TryOpen(GroupFolder folder, string path)
    {
        try
        {
            return folder.Device.Exists(path) ? folder.Device.Open(path, create: false) : null;
        }
        catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
        {
            // Deleted since the question.
            return null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // No verdict about the file: too many open files, or no permission.
            StorageEvents.SideFileNotOpened(folder.Logger, failure, folder.Group, path);
            return null;
        }
    }

    private static void Discard(GroupFolder folder, string temporary)
    {
        try
        {
            folder.DeleteIfThere(temporary);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // The next start, or the next write of the same file, deletes it.
            StorageEvents.TemporaryNotDeleted(folder.Logger, failure, temporary);
        }
    }
}
