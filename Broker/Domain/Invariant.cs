using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Broker.Domain;

/// <summary>
/// States what must always hold, in Release builds too. A broken invariant means that memory or code cannot be trusted
/// any more: the node stops rather than acknowledge something false, and its peers go on.
/// </summary>
public static class Invariant
{
    public static void Check(
        [DoesNotReturnIf(false)] bool holds,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        if (!holds)
        {
            throw new InvariantException($"Broken invariant: {what} ({Path.GetFileName(file)}:{line})");
        }
    }
}

/// <summary>Thrown by <see cref="Invariant.Check"/>; ends the process.</summary>
public sealed class InvariantException(string message) : Exception(message);
