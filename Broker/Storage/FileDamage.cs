namespace Broker.Storage;

/// <summary>What is wrong with a file that can be done without, or made anew.</summary>
/// <param name="Offset">Where the damage begins.</param>
/// <param name="Expected">What should have been there.</param>
/// <param name="Cause">The error of the disk, when it could not read it.</param>
internal readonly record struct FileDamage(long Offset, string Expected, Exception? Cause = null)
{
    public static FileDamage OfPage(long offset) => new(offset, "a page with a matching checksum");

    public static FileDamage Unreadable(Exception cause) => new(0, "bytes that can be read", cause);
}
