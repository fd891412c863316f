//! From what the client library returns to an answer or an error that says what became of the command.

use super::error::RedisError;
use redis::{FromRedisValue, RedisResult, Value};

/// The answer, or an error reply, or what became of it without one.
pub(super) fn of(result: RedisResult<Value>) -> Result<Value, RedisError> {
    match result {
        Ok(value @ Value::ServerError(_)) => match value.extract_error() {
            Err(error) => Err(RedisError::reply(&error)),
            Ok(value) => Ok(value),
        },
        Ok(value) => Ok(value),
        // A code comes from a server; everything else happened on the way.
        Err(error) if error.code().is_some() => Err(RedisError::reply(&error)),
        Err(error) => Err(RedisError::lost(&error)),
    }
}

/// The answer as the type asked for. Error replies nested in it are errors.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, RedisError> {
    let value = value.extract_error().map_err(|error| RedisError::reply(&error))?;
    redis::from_redis_value(value).map_err(|_| RedisError::unintelligible(std::any::type_name::<T>()))
}
